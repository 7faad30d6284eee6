/**
 * The interface of both clients, over HTTP and in the process, and the types that give it names:
 * `onceflow types` writes them from a catalogue. Without them any name compiles.
 */
import type { Json } from "../engine/wire.ts";
import type { AnswerHead, ColumnAnswer, FeatureAnswer, Status } from "../serving/answer.ts";
import type { ColumnRequest, FeatureRequest } from "../serving/request.ts";
import type { CallOptions } from "./deadline.ts";

/** What is known of a service at compile time; every type is by its wire form. */
export interface ServiceTypes {
  /** Values by feature. */
  readonly features: object;
  /** Key columns. */
  readonly entity: object;
  /** Raw columns of a row that names no entity. */
  readonly inputs: object;
  /** Raw columns beside an entity, where those that the store has may be left out. */
  readonly entity_inputs: object;
}

/** What is known of a catalogue at compile time. */
export interface CatalogueTypes {
  readonly services: Readonly<Record<string, ServiceTypes>>;
  /** Values by feature, or by column as `<view>.<column>`, to ask for by name. */
  readonly features: object;
  /** Key columns of all views. */
  readonly entity: object;
  /** Raw columns of all sources. */
  readonly inputs: object;
}

/** A catalogue of which nothing is known. */
export interface AnyCatalogue {
  readonly services: Readonly<
    Record<
      string,
      {
        readonly features: Readonly<Record<string, Json>>;
        readonly entity: Readonly<Record<string, string | number>>;
        readonly inputs: Readonly<Record<string, Json>>;
        readonly entity_inputs: Readonly<Record<string, Json>>;
      }
    >
  >;
  readonly features: Readonly<Record<string, Json>>;
  readonly entity: Readonly<Record<string, string | number>>;
  readonly inputs: Readonly<Record<string, Json>>;
}

type OneOrEach<T> = T | readonly T[];

/** What narrows a request, whatever its rows are. */
type Narrowing = Pick<FeatureRequest, "snapshots" | "fingerprint" | "max_age">;

/** Rows of a service: inputs alone, or entities with the inputs that the store does not have. */
export type ServiceRows<S extends ServiceTypes> = Narrowing &
  (
    | { readonly entities?: never; readonly inputs: OneOrEach<S["inputs"]> }
    | (Record<never, never> extends S["entity_inputs"]
        ? {
            readonly entities: readonly S["entity"][];
            readonly inputs?: OneOrEach<S["entity_inputs"]>;
          }
        : {
            readonly entities: readonly S["entity"][];
            readonly inputs: OneOrEach<S["entity_inputs"]>;
          })
  );

/** Rows for a list of features: which inputs these need is checked by the server alone. */
export interface ListRows<C extends CatalogueTypes> extends Narrowing {
  readonly entities?: readonly C["entity"][];
  readonly inputs?: OneOrEach<C["inputs"]>;
}

/** One row of an answer with typed values. */
export interface TypedRow<F> {
  readonly entity?: Readonly<Record<string, string>>;
  readonly features: Readonly<F>;
  readonly statuses: Readonly<Record<keyof F, Status>>;
  readonly event_times: Readonly<Record<keyof F, string | null>>;
  readonly ages: Readonly<Record<keyof F, number | null>>;
  readonly violations?: Readonly<Partial<Record<keyof F, readonly string[]>>>;
  readonly errors?: Readonly<Partial<Record<keyof F, string>>>;
}

/** An answer in rows. */
export interface TypedRows<F> extends AnswerHead {
  readonly results: readonly TypedRow<F>[];
}

/** An answer in columns; `columnOf` gives one of them with its type. */
export interface TypedColumns<F> extends Omit<ColumnAnswer, "features" | "values"> {
  readonly features: readonly (keyof F)[];
  readonly values: readonly (readonly F[keyof F][])[];
}

/** What a call asks for: a service by its name, or a list of features by theirs. */
export type AskedOf<C extends CatalogueTypes> =
  (keyof C["services"] & string) | readonly (keyof C["features"] & string)[];

/** The rows that go with what is asked for. */
export type RowsFor<C extends CatalogueTypes, A extends AskedOf<C>> = A extends string
  ? ServiceRows<C["services"][A]>
  : ListRows<C>;

/** The values, by feature, of what is asked for. */
export type ValuesOf<C extends CatalogueTypes, A extends AskedOf<C>> = A extends string
  ? C["services"][A]["features"]
  : Pick<C["features"], A[number] & keyof C["features"]>;

/** The answer to any request, by its `form`. */
export interface AnswerByForm {
  readonly rows: FeatureAnswer;
  readonly columns: ColumnAnswer;
}

/**
 * Asks for features. Every call rejects with an OnceflowError, or with the signal's reason. Each
 * method has one signature, since of several the compiler tells of a mistake what each of them
 * would have of it.
 */
export interface FeatureClient<C extends CatalogueTypes = AnyCatalogue> {
  /** The features of a service, or those of a list, row by row. */
  features<A extends AskedOf<C>>(
    asked: A,
    rows: RowsFor<C, A>,
    call?: CallOptions,
  ): Promise<TypedRows<ValuesOf<C, A>>>;
  /** The same in columns: smaller, for many rows. */
  columns<A extends AskedOf<C>>(
    asked: A,
    rows: RowsFor<C, A>,
    call?: CallOptions,
  ): Promise<TypedColumns<ValuesOf<C, A>>>;
  /** Any request, as it stands in docs/http.md. */
  answer<F extends keyof AnswerByForm = "rows">(
    request: Omit<FeatureRequest, "form"> & { readonly form?: F },
    call?: CallOptions,
  ): Promise<AnswerByForm[F]>;
  /** Lets go of what the client holds. */
  close(): Promise<void>;
}

/** Answers any request. */
export type Ask = (
  request: FeatureRequest | ColumnRequest,
  call?: CallOptions,
) => Promise<FeatureAnswer | ColumnAnswer>;

/** Gives a function that answers requests the interface of a client. */
export function typedClient<C extends CatalogueTypes>(
  answer: Ask,
  close: () => Promise<void>,
): FeatureClient<C> {
  const inForm =
    (form: "rows" | "columns") =>
    (asked: string | readonly string[], rows: object, call?: CallOptions) => {
      const what = typeof asked === "string" ? { service: asked } : { features: asked };
      return answer({ ...rows, ...what, form }, call);
    };
  // What the types say of an answer is what the catalogue says that they were written from.
  return {
    features: inForm("rows"),
    columns: inForm("columns"),
    answer,
    close,
  } as unknown as FeatureClient<C>;
}

/** One column of an answer, in the order of its rows; undefined where it has none of that name. */
export function columnOf<F, K extends keyof F>(
  { features, values }: TypedColumns<F>,
  name: K,
): readonly F[K][] | undefined {
  return values[features.indexOf(name)] as readonly F[K][] | undefined;
}
