export interface Item { item_id: string; score: number | null }

/** An answer. Without the service it has the fallback list, no arm, and nothing is learned from it. */
export interface Decision {
  decision_id: string;
  experiment: string;
  arm: string | null;
  served_arm?: string | null;
  propensity?: number;
  allocation?: number;
  reason: string;
  items: Item[];
  payload: unknown;
  durability?: string;
}

export interface Options {
  /** Of the service, as https://croupier.example. */
  url: string;
  /** With scopes `decide` and `reward` and no other: whoever reads the page reads it too. */
  key: string;
  /** For a recommendation, all tries together. Default 500. */
  timeoutMs?: number;
  /** Of a recommendation at most, with the same decision id. Default 2. */
  tries?: number;
  /** Item ids for when the service does not answer in time. */
  fallback?: string[];
  /** The most events that wait; beyond it the oldest is dropped. Default 1,000. */
  capacity?: number;
  /** How long an event waits for others. Default 1,000. */
  flushMs?: number;
}

export interface Reward {
  metric?: string;
  item_id?: string;
  position?: number;
  /** Two events with one id count once. */
  event_id?: string;
}

/** The service refused the request: it is a mistake in the application. */
export class Refused extends Error {
  readonly status: number;
  readonly problem: { detail?: string; errors?: { pointer: string; detail: string }[] };
}

export class Croupier {
  constructor(options: Options);
  /** How many events were accepted, duplicate, unmatched, rejected or dropped. */
  readonly counts: Record<string, number>;
  /** How many events wait. */
  readonly waiting: number;
  /** An arm's items for a unit, or the fallback list when the service does not answer in time. */
  recommend(experiment: string, unit: string, options?: { k?: number; context?: Record<string, unknown> }): Promise<Decision>;
  /** Tells what came of a decision; false: it is the client's own fallback list, and there is nobody to tell. */
  reward(decision: Decision, value: number, options?: Reward): boolean;
  /** Sends what waits; true: all of it was taken. */
  flush(): Promise<boolean>;
  /** Sends what waits, and listens no more. */
  close(): Promise<boolean>;
}

export function newId(): string;
