/** What runs read and fill. */
import type { SourceConfig } from "../sources/files.ts";
import type { Ledger } from "../store/ledger.ts";
import type { OfflineStore } from "../store/offline/offline-store.ts";
import type { OnlineStore } from "../store/online-store.ts";
import type { RedisConnection } from "../store/redis/types.ts";

/** The stores of a deployment, and where its raw rows are. */
export interface Stores {
  /** Of the online store and the ledger. */
  readonly redis: RedisConnection;
  readonly online: OnlineStore;
  readonly ledger: Ledger;
  readonly offline: OfflineStore;
  readonly sources: SourceConfig;
}
