/** The limit of the online activity: a worker whose activity does nothing. */
import { NativeConnection, Worker } from "@temporalio/worker";

const [address = "", taskQueue = ""] = process.argv.slice(2);
const worker = await Worker.create({
  connection: await NativeConnection.connect({ address }),
  taskQueue,
  activities: { nothing: () => Promise.resolve() },
});
console.log(`worker polls ${taskQueue}`);
await worker.run();
