/** The limit of memory: a process in which polars reads the same columns and keeps them. */
import pl from "nodejs-polars";

const frame = await pl.scanParquet(process.argv[2] ?? "").collect();
const peakBytes = process.resourceUsage().maxRSS * 1024;
process.stdout.write(`${JSON.stringify({ peakBytes, rows: frame.getColumn("id").length })}\n`);
