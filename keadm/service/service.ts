/** A daemon as keadm runs it, and the three ways to do so: systemd, a supervisor of our own, in the foreground. */

export interface Service {
  /** `apiserver`, `cloudcore`, `edgecore`, `edgecore@<instance>` */
  readonly name: string;
  readonly description: string;
  readonly argv: readonly [string, ...string[]];
  readonly logFile: string;
  /** Directory for the supervisor's own record of the service. */
  readonly stateDir: string;
}

export interface ServiceHost {
  readonly kind: 'systemd' | 'supervisor' | 'foreground';
  /** Installs and starts; a service of that name that runs is stopped first. */
  start(service: Service): Promise<void>;
  /** Stops and uninstalls; nothing happens when there is no such service. */
  remove(name: string, stateDir: string): Promise<void>;
  isRunning(name: string, stateDir: string): Promise<boolean>;
  /** Where a person finds what the daemon says: a file, or a command. */
  logOf(service: Service): string;
}
