/** A map of bounded size: the entry that was used longest ago gives way. */
export interface Lru<K, V> {
  /** The value of a key, which counts as a use. Cost: nothing but the look-up for the key used last. */
  readonly get: (key: K) => V | undefined;
  /** The value of a key that is about to be set anyway: no use. */
  readonly peek: (key: K) => V | undefined;
  readonly set: (key: K, value: V) => void;
  readonly delete: (key: K) => void;
}

/** Makes one that keeps `limit` entries at most. */
export function createLru<K, V extends NonNullable<unknown>>(limit: number): Lru<K, V> {
  // A Map is in the order in which its keys were set.
  const entries = new Map<K, V>();
  let newest: K | undefined;

  function set(key: K, value: V): void {
    entries.delete(key);
    entries.set(key, value);
    newest = key;
    if (entries.size <= limit) return;
    const oldest = entries.keys().next();
    if (oldest.done !== true) entries.delete(oldest.value);
  }

  return {
    get(key) {
      const value = entries.get(key);
      if (value !== undefined && key !== newest) set(key, value);
      return value;
    },
    peek: (key) => entries.get(key),
    set,
    delete: (key) => void entries.delete(key),
  };
}
