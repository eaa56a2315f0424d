/**
 * The contract of a module. A module is built from its parsed options and exactly the collaborators it uses
 * (`createMetaManager(options, components): Module`); a disabled module is not built. Modules never import
 * each other: they share message kinds over the bus.
 */

export interface Module {
  readonly name: string;
  /**
   * Runs until the signal is aborted, then drains and resolves. Calls `ready` once it does its work, so that
   * the next module may start. A rejection means: start me again, with back-off, unless it is an
   * UnrecoverableError, which ends the daemon.
   */
  run(signal: AbortSignal, ready: () => void): Promise<void>;
}
