import assert from "node:assert/strict";
import type { ErrorCode } from "../../../engine/errors.ts";
import type { Lookup } from "../../../serving/lookup.ts";
import { createLookup } from "../../../serving/lookup.ts";
import type { ExampleStore } from "../../support/http/example-store.ts";
import { fillExampleStore } from "../../support/http/example-store.ts";
import { failureOf } from "../../support/fails-with.ts";

/** What is sent, the code, and the whole message. */
type Refusal = readonly [request: unknown, code: ErrorCode, message: string];

const id = { id: "11" };
const members = "service, features, entities, inputs, snapshots, fingerprint, max_age, form";

const refusals: readonly Refusal[] = [
  [undefined, "REQUEST_INVALID", "the request is missing; expected an object."],
  [[], "REQUEST_INVALID", "the request is an empty list; expected an object."],
  ["x", "REQUEST_INVALID", 'the request is "x"; expected an object.'],
  [
    { service: "model_x", entity: [id] },
    "REQUEST_INVALID",
    `"entity" is no member of a request. There are: ${members}.`,
  ],
  [
    { service: "model_x", entitie: [id] },
    "REQUEST_INVALID",
    `"entitie" is no member of a request. Did you mean "entities"? There are: ${members}.`,
  ],
  [
    JSON.parse('{"service":"model_x","__proto__":{"features":["age_mean"]}}'),
    "REQUEST_INVALID",
    `"__proto__" is no member of a request. There are: ${members}.`,
  ],
  [
    {},
    "REQUEST_INVALID",
    'the request lacks both "service" and "features"; send exactly one of them.',
  ],
  [
    { service: "model_x", features: ["age_mean"] },
    "REQUEST_INVALID",
    'the request has both "service" and "features"; send exactly one of them.',
  ],
  [{ service: 7 }, "REQUEST_INVALID", "service is 7; expected a name of 1 to 256 characters."],
  [{ features: [] }, "REQUEST_INVALID", "features is an empty list; expected a list of names."],
  [
    { features: "age_mean" },
    "REQUEST_INVALID",
    'features is "age_mean"; expected a list of names.',
  ],
  [
    { features: ["age_mean", null] },
    "REQUEST_INVALID",
    "features[1] is null; expected a name of 1 to 256 characters.",
  ],
  [
    { features: ["age_mean", "is_summer", "age_mean"] },
    "REQUEST_INVALID",
    'features[2] repeats features[0], "age_mean"; ask for each once.',
  ],
  [
    { features: ["age_mean"], entities: id },
    "REQUEST_INVALID",
    "entities is an object; expected a list of objects.",
  ],
  [
    { features: ["has_pet"], entities: [id, "11"] },
    "REQUEST_INVALID",
    'entities[1] is "11"; expected an object.',
  ],
  [
    { features: ["has_pet"], entities: [id, {}] },
    "REQUEST_INVALID",
    "entities[1] is empty; send id.",
  ],
  [
    { features: ["has_pet"], entities: [{ ID: "11" }] },
    "REQUEST_INVALID",
    'entities[0].ID is no key column of what is asked for. Did you mean "id"? Key columns: id.',
  ],
  [
    { features: ["has_pet"], entities: [JSON.parse('{"id":"1","__proto__":"x"}')] },
    "REQUEST_INVALID",
    "entities[0].__proto__ is no key column of what is asked for. Key columns: id.",
  ],
  [
    { features: ["has_pet"], entities: [id], inputs: [{}, {}] },
    "REQUEST_INVALID",
    "inputs has 2 elements and entities 1; send one element for each entity, or one object for all.",
  ],
  [{ features: ["has_pet"], inputs: 5 }, "REQUEST_INVALID", "inputs is 5; expected an object."],
  [
    { features: ["has_pet"], inputs: [{ pet: 1 }, 5] },
    "REQUEST_INVALID",
    "inputs[1] is 5; expected an object.",
  ],
  [
    { features: ["has_pet"], inputs: { pet: 1, "absences.pet": 2 } },
    "REQUEST_INVALID",
    'inputs["absences.pet"] and inputs.pet are both absences.pet; send one.',
  ],
  [
    { features: ["has_pet"], entities: [id], snapshots: { absences: 4 } },
    "REQUEST_INVALID",
    "snapshots.absences is 4; expected a name of 1 to 256 characters.",
  ],
  [
    { features: ["has_pet"], entities: [id], snapshots: { absences: "abc" } },
    "REQUEST_INVALID",
    'snapshots.absences pins a snapshot, but nothing asked for rests on an aggregate of view "absences". Leave it out.',
  ],
  [
    { features: ["has_pet"], entities: [id], snapshots: { absence: "abc" } },
    "UNKNOWN_VIEW",
    'snapshots.absence: no feature view is named "absence". Did you mean "absences"?',
  ],
  [
    { features: ["age_mean"], snapshots: { absences: "abc" } },
    "UNKNOWN_SNAPSHOT",
    'snapshots.absences: snapshot "abc" of view "absences" does not exist. Leave the pin out to get the latest.',
  ],
  [
    { service: "model_y" },
    "UNKNOWN_SERVICE",
    'no feature service is named "model_y". Did you mean "model_x"?',
  ],
  [
    { service: "__proto__" },
    "UNKNOWN_SERVICE",
    'no feature service is named "__proto__". There are: absenteeism_training, model_x, presence.',
  ],
  [
    { features: ["age_mean", "age_meen"] },
    "UNKNOWN_FEATURE",
    'features[1]: no feature is named "age_meen". Did you mean "age_mean"?',
  ],
  [
    { features: ["constructor"] },
    "UNKNOWN_FEATURE",
    'features[0]: no feature is named "constructor".',
  ],
  [
    { features: ["has_pet"], inputs: { pets: 1 } },
    "UNKNOWN_INPUT",
    'inputs.pets: input "pets" is no column of source "absences". Did you mean "pet"?',
  ],
  [
    { features: ["has_pet"], inputs: [{ pet: 1 }, JSON.parse('{"pet":1,"__proto__":1}')] },
    "UNKNOWN_INPUT",
    'inputs[1].__proto__: input "__proto__" is no column of source "absences".',
  ],
  [
    { features: ["has_pet"], inputs: { pet: null } },
    "VALUE_INVALID",
    "inputs.pet is null, and column absences.pet is declared without nulls; send an int64.",
  ],
  [
    { features: ["has_pet"], inputs: [{ pet: 1 }, { pet: 1.5 }] },
    "VALUE_INVALID",
    "inputs[1].pet is 1.5; expected int64: an integer within ±(2^53 − 1) as a number, or any 64-bit integer as a decimal string.",
  ],
  [
    JSON.parse('{"features":["has_pet"],"inputs":{"pet":9007199254740993}}'),
    "VALUE_INVALID",
    "inputs.pet is 9007199254740992; expected int64: an integer within ±(2^53 − 1) as a number, or any 64-bit integer as a decimal string.",
  ],
  [
    { features: ["has_pet"], entities: [id, { id: 1.5 }] },
    "VALUE_INVALID",
    "entities[1].id is 1.5; expected an entity key: text, or an integer within ±(2^53 − 1).",
  ],
  [
    { features: ["has_pet"], entities: [{ id: "\ud800" }] },
    "VALUE_INVALID",
    'entities[0].id is "\\ud800"; expected an entity key: text, or an integer within ±(2^53 − 1).',
  ],
  [
    { features: ["age_zero_mean", "has_pet"] },
    "MISSING_INPUT",
    "the request lacks inputs: age_zero_mean needs age; has_pet needs pet. Send them as inputs, or send the entity (id) to read its stored row.",
  ],
  [
    { features: ["has_pet"], inputs: [{ pet: 1 }, {}] },
    "MISSING_INPUT",
    "inputs[1]: the request lacks inputs: has_pet needs pet. Send them as inputs, or send the entity (id) to read its stored row.",
  ],
];

describe("what a lookup refuses", () => {
  let example: ExampleStore;
  let lookup: Lookup;
  before(async () => {
    example = await fillExampleStore();
    const { catalogue, serving, redis } = example;
    lookup = createLookup({ catalogue, redis: serving, prefix: redis.prefix });
  });
  after(async () => {
    lookup.close();
    await example.stop();
  });

  const failure = (request: unknown) => failureOf(() => lookup.answer(request));

  for (const [request, code, message] of refusals)
    it(`answers ${code} to ${JSON.stringify(request)?.slice(0, 90)}`, async () => {
      const error = await failure(request);
      assert.deepEqual([error.code, error.message], [code, message]);
    });

  it("cuts long names and values short in its messages", async () => {
    const long = "x".repeat(100_000);
    for (const request of [
      { [long]: 1 },
      { service: long },
      { features: [long] },
      { features: ["has_pet"], inputs: { [long]: 1 } },
      { features: ["has_pet"], inputs: { pet: long } },
      { features: ["has_pet"], entities: [{ [long]: "1" }] },
      { features: ["has_pet"], entities: [{ id: { long } }] },
      { features: ["has_pet"], snapshots: { [long]: "1" } },
    ]) {
      const error = await failure(request);
      const size = JSON.stringify([error.message, error.details]).length;
      assert.ok(size < 1000, `${error.code} of ${size} characters`);
    }
  });

  it("changes no prototype, whatever is sent", async () => {
    for (const [request] of refusals) await failure(request);
    assert.equal(Object.keys(Object.prototype).length, 0);
    assert.equal(({} as Record<string, unknown>)["features"], undefined);
  });
});
