import assert from "node:assert/strict";
import fc from "fast-check";
import { parseJson, RoundedNumber, writeJson } from "../../engine/json-text.ts";
import { OnceflowError } from "../../engine/errors.ts";
import { fromJson, keyFromJson } from "../../engine/wire.ts";
import { parseJsonBody } from "../../serving/http/json-body.ts";
import { runsOf } from "../support/property.ts";

/** No integer, and the nearest double is one. */
const rounded = [
  ...["4503599627370497.5", "9007199254740991.4", "-9007199254740990.6", "253402300799998.999"],
  ...["0.99999999999999999999", "1.00000000000000000001", "-0.000000000000000000000001e-320"],
  ...["1e-400", "5E-400", "12345678901234567890e-400", "9007199254740991.4e0", "1.57e-400"],
  ...["90071992547409914e-1", "0.90071992547409914E16", "45035996273704975e-1"],
];
/** Integers, and numbers that stay what they are. */
const exact = [
  ...["1", "-1", "0", "-0", "1.0", "1.000", "1e3", "1.5e1", "10e-1", "0e-5", "0.0e-400"],
  ...["9007199254740991", "9007199254740991.0", "90071992547409910e-1", "1.5", "0.5e-1"],
  ...["0.9999999999999999", "1e22", "4503599627370495.5", "0.00001", "0.99", "0.30000000000000004"],
];

describe("JSON text", () => {
  for (const [name, parse] of [
    ["parseJson", parseJson],
    ["the body of a request", (text: string) => parseJsonBody(Buffer.from(text))],
  ] as const)
    it(`read by ${name} tells numbers that were rounded to an integer from all others`, () => {
      for (const text of rounded)
        for (const [before, after] of [
          ['{"é\\"1.5":"1e-400",  "x":', "}"],
          ['{"y":[1,1.5],"x":', ' ,"z":"a"}'],
          ['{"y":true,"x" :\n', '\n,"z":2.000000000000001}'],
        ] as const) {
          const { x, ...others } = parse(before + text + after) as Record<string, unknown>;
          assert.ok(x instanceof RoundedNumber, text);
          assert.deepEqual([x.text, x.value], [text, Number(text)]);
          const { x: plain, ...same } = JSON.parse(before + text + after) as Record<
            string,
            unknown
          >;
          assert.deepEqual(others, same);
          assert.equal(plain, x.value);
        }
      for (const text of exact)
        assert.ok(
          Object.is(
            parse(`[${text}]`) instanceof Array && (parse(`[${text}]`) as unknown[])[0],
            JSON.parse(text),
          ),
          text,
        );
    });

  it("is the same for both, and as JSON.parse has it, whatever the digits", () => {
    const digits = (maxLength: number) => fc.stringMatching(new RegExp(`^[0-9]{1,${maxLength}}$`));
    const number = fc
      .tuple(
        fc.constantFrom("", "-"),
        fc.oneof(fc.constant("0"), fc.stringMatching(/^[1-9][0-9]{0,17}$/)),
        fc.option(
          fc.oneof(digits(20), fc.constantFrom("0000000000000000001", "9999999999999999999")),
        ),
        fc.option(fc.integer({ min: -30, max: 30 })),
      )
      .map(
        ([sign, whole, fraction, exponent]) =>
          `${sign}${whole}${fraction === null ? "" : `.${fraction}`}${exponent === null ? "" : `e${exponent}`}`,
      );
    fc.assert(
      fc.property(fc.array(number, { minLength: 1 }), (texts) => {
        const list = `[${texts.join(",")}]`;
        const read = (json: unknown) =>
          (json as unknown[]).map((each) => (each instanceof RoundedNumber ? each.text : each));
        const one = read(parseJson(list));
        assert.deepEqual(one, read(parseJsonBody(Buffer.from(list))));
        const plain = JSON.parse(list) as number[];
        texts.forEach((text, i) => {
          // By whole numbers alone: the value times a power of ten.
          const [, sign = "", whole = "", fraction = "", exponent = "0"] =
            /^(-?)(\d+)(?:\.(\d+))?(?:e(.+))?$/.exec(text) ?? [];
          const places = fraction.length - Number(exponent);
          const scaled = BigInt(sign + whole + fraction);
          const isInteger = places <= 0 || scaled % 10n ** BigInt(places) === 0n;
          assert.equal(one[i], !isInteger && Number.isInteger(plain[i]) ? text : plain[i]);
        });
      }),
      runsOf(300),
    );
  });

  it("takes long texts in a time that grows with them alone", () => {
    for (const body of ["1.", "1e", "1", "1.0", "e", "1e-", "0.9"].map(
      (each) => `[${each.repeat(340_000)}]`,
    )) {
      const startMs = performance.now();
      assert.throws(() => parseJsonBody(Buffer.from(`${body}x`)));
      assert.ok(performance.now() - startMs < 5_000, body.slice(0, 9));
    }
  });

  it("of such numbers is no integer, time or key, and the nearest double as a float", () => {
    for (const text of rounded) {
      const json = parseJson(text);
      for (const dtype of ["int64", "timestamp", "bool", "string"] as const)
        assert.throws(
          () => fromJson(dtype, json, "x"),
          (error) =>
            error instanceof OnceflowError &&
            error.code === "VALUE_INVALID" &&
            error.message.includes(`x is ${text}; `),
        );
      assert.throws(() => keyFromJson(json, "x"), /^OnceflowError.*|x is /);
      assert.equal(fromJson("float64", json, "x"), Number(text));
      assert.deepEqual(fromJson("list_float64", parseJson(`[${text}]`), "x"), [Number(text)]);
    }
  });

  it("is written as it was read", () => {
    for (const text of [...rounded, '"1e-400"', '["rounded",1]'])
      assert.equal(writeJson({ x: parseJson(text) }), `{"x":${text}}`);
  });
});
