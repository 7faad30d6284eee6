/**
 * Works on the items of a stream one by one, each while the next is made, and gives the results in
 * their order: decoding holds this thread, and polars computes on others meanwhile.
 */
export async function* overlap<T, R>(
  items: AsyncIterable<T>,
  work: (item: T) => Promise<R>,
): AsyncGenerator<R> {
  let pending: Promise<R> | undefined;
  for await (const item of items) {
    const next = work(item);
    // Whoever awaits it gets its error, unless another comes first.
    next.catch(() => undefined);
    if (pending !== undefined) yield await pending;
    pending = next;
  }
  if (pending !== undefined) yield await pending;
}
