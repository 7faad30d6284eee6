/** Where a row stands among the rows of all files of a source. */

/** Name of the column that `readChunks` adds: the file's place in the list × `rowsPerFile` + row. */
export const ordinalColumn = "__ordinal";

/** Ordinals of one file: a row is what is left of its ordinal, counted from 0. */
export const rowsPerFile = 2 ** 32;
