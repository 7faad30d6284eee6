import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { parse, parseAllDocuments } from "yaml";
import { endWithinSeconds } from "../settings.ts";
import { searchAttributeKeys } from "../workflows/search-attributes.ts";

const root = new URL("../", import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), "utf8");

/** What of a Kubernetes object is looked at. */
interface Resource {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly data?: Readonly<Record<string, string>>;
  /** Of another form for each kind; `at` reads it. */
  readonly spec: unknown;
}

/** What stands at a path such as `template.spec`; undefined where nothing does. */
function at(document: unknown, path: string): unknown {
  return path
    .split(".")
    .reduce((found, name) => (found as Record<string, unknown> | undefined)?.[name], document);
}
/** The list at a path; fails where there is none. */
function listAt(document: unknown, path: string): readonly unknown[] {
  const found = at(document, path);
  assert.ok(Array.isArray(found), `there is no list ${path}`);
  return found;
}
/** The members of the object at a path; fails where there is none. */
function membersAt<T = unknown>(document: unknown, path: string): Readonly<Record<string, T>> {
  const found = at(document, path);
  assert.ok(typeof found === "object" && found !== null, `there is no ${path}`);
  return found as Readonly<Record<string, T>>;
}
/** The text at a path; fails where there is none. */
function textAt(document: unknown, path: string): string {
  const found = at(document, path);
  assert.ok(typeof found === "string", `${path} is no text`);
  return found;
}

const folder = "deploy/kubernetes/";
interface Kustomization {
  readonly resources: string[];
  readonly images?: { readonly name: string; readonly newTag: string }[];
  readonly nameSuffix?: string;
  readonly labels?: {
    readonly pairs: Readonly<Record<string, string>>;
    readonly includeSelectors?: boolean;
  }[];
}
const kustomizationOf = (path: string) => parse(read(`${path}kustomization.yaml`)) as Kustomization;
const documentsOf = (path: string) =>
  parseAllDocuments(read(path)).map((document) => {
    assert.deepEqual(document.errors, [], path);
    return document.toJS() as Resource;
  });
/** What a kustomization takes in, of folders too; a folder ends with a slash. */
function filesOf(path: string): string[] {
  return kustomizationOf(path).resources.flatMap((name) =>
    name.endsWith(".yaml") ? [path + name] : filesOf(`${path}${name}/`),
  );
}
const kustomization = kustomizationOf(folder);
const images = kustomization.images ?? [];
const resources = filesOf(folder).flatMap(documentsOf);
const ofKind = (kind: string) => resources.filter((each) => each.kind === kind);
const deployments = ofKind("Deployment");
const named = (kind: string, name: string): Resource => {
  const found = ofKind(kind).find(({ metadata }) => metadata.name === name);
  assert.ok(found, `there is no ${kind} ${name}`);
  return found;
};
const labelsAt = (document: unknown, path: string) => membersAt<string>(document, path);
const selects = (selector: Readonly<Record<string, string>>, { spec }: Resource) => {
  const labels = labelsAt(spec, "template.metadata.labels");
  return Object.entries(selector).every(([label, value]) => labels[label] === value);
};

describe("The Kubernetes manifests", () => {
  /** What the programs say of their environment. */
  let help: string;
  before(() => {
    help = ["server.ts", "worker.ts"]
      .map((program) =>
        execFileSync(process.execPath, ["--import", "tsx", program, "--help"], {
          cwd: root,
          encoding: "utf8",
        }),
      )
      .join("");
  });

  it("are all in the kustomization, but the claim, whose end is that of the data, and the monitor, whose kind not every cluster knows", () => {
    const files = readdirSync(new URL(folder, root), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".yaml") && !name.endsWith("kustomization.yaml"))
      .map((name) => folder + name);
    const apart = ["claim.yaml", "pod-monitor.yaml"].map((name) => folder + name);
    assert.deepEqual([...filesOf(folder), ...apart].sort(), files.sort());
    assert.deepEqual(
      deployments.map(({ metadata }) => metadata.name),
      ["onceflow-server", "onceflow-worker-offline", "onceflow-worker-online"],
    );
  });

  it("have a claim that offline workers on several nodes can mount", () => {
    const [claim] = documentsOf(`${folder}claim.yaml`);
    assert.equal(claim?.kind, "PersistentVolumeClaim");
    assert.deepEqual(at(claim.spec, "accessModes"), ["ReadWriteMany"]);
    const { spec } = named("Deployment", "onceflow-worker-offline");
    const volume = listAt(spec, "template.spec.volumes").find(
      (each) => at(each, "name") === "data",
    );
    assert.equal(at(volume, "persistentVolumeClaim.claimName"), claim.metadata.name);
  });

  it("have a monitor that scrapes every pod, at a port that is open to Prometheus, as the alerts' job", () => {
    const [monitor, ...others] = documentsOf(`${folder}pod-monitor.yaml`);
    assert.deepEqual([monitor?.kind, others], ["PodMonitor", []]);
    const [endpoint] = listAt(monitor?.spec, "podMetricsEndpoints");
    assert.equal(at(endpoint, "path"), "/metrics");
    const selector = labelsAt(monitor?.spec, "selector.matchLabels");
    const { data = {} } = named("ConfigMap", "onceflow");
    assert.equal(data["ONCEFLOW_METRICS_HOST"], "0.0.0.0");
    for (const deployment of deployments) {
      assert.ok(selects(selector, deployment), deployment.metadata.name);
      const [container] = listAt(deployment.spec, "template.spec.containers");
      const port = listAt(container, "ports").find(
        (each) => at(each, "name") === at(endpoint, "port"),
      );
      assert.equal(`${Number(at(port, "containerPort"))}`, data["ONCEFLOW_METRICS_PORT"]);
    }
    const [from] = listAt(named("NetworkPolicy", "onceflow").spec, "ingress");
    assert.deepEqual(listAt(from, "ports"), [{ port: at(endpoint, "port"), protocol: "TCP" }]);
    const job = selector[textAt(monitor?.spec, "jobLabel")];
    const jobs = [...read("deploy/prometheus/alerts.yml").matchAll(/job="(\w+)"/g)];
    assert.ok(jobs.length > 0);
    for (const [, name] of jobs) assert.equal(name, job);
  });

  it("put the offline workers of the next build beside the others, and select neither by the other", () => {
    const path = `${folder}next/`;
    const {
      nameSuffix = "",
      labels: [label] = [],
      images: nextImages = [],
    } = kustomizationOf(path);
    assert.deepEqual(kustomizationOf(path).resources, ["../worker-offline"]);
    assert.ok(nameSuffix !== "");
    assert.equal(label?.includeSelectors, true);
    const { spec } = named("Deployment", "onceflow-worker-offline");
    const own = labelsAt(spec, "selector.matchLabels");
    for (const [name, value] of Object.entries(label.pairs)) {
      assert.ok(own[name], name);
      assert.notEqual(own[name], value);
    }
    assert.deepEqual(
      nextImages.map(({ name }) => name),
      images.map(({ name }) => name),
    );
  });

  for (const deployment of deployments) {
    const spec = at(deployment.spec, "template.spec");
    const [container] = listAt(spec, "containers");
    describe(deployment.metadata.name, () => {
      it("runs without rights: no root, no writes, no capabilities, no token", () => {
        assert.equal(listAt(spec, "containers").length, 1);
        assert.equal(at(spec, "automountServiceAccountToken"), false);
        assert.equal(
          at(spec, "serviceAccountName"),
          named("ServiceAccount", "onceflow").metadata.name,
        );
        assert.equal(at(spec, "securityContext.runAsNonRoot"), true);
        assert.ok(Number(at(spec, "securityContext.runAsUser")) > 0);
        assert.equal(at(spec, "securityContext.seccompProfile.type"), "RuntimeDefault");
        assert.deepEqual(at(container, "securityContext"), {
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ["ALL"] },
        });
        for (const key of ["hostNetwork", "hostPID", "hostIPC"])
          assert.equal(at(spec, key), undefined, key);
        for (const volume of listAt(spec, "volumes"))
          assert.equal(at(volume, "hostPath"), undefined);
      });

      it("has requests and limits of CPU and memory", () => {
        for (const kind of ["requests", "limits"])
          for (const what of ["cpu", "memory"])
            assert.ok(at(container, `resources.${kind}.${what}`), what);
      });

      it("has probes at ports that it names, and no password of its own", () => {
        const ports = listAt(container, "ports").map((port) => textAt(port, "name"));
        const probes = ["startupProbe", "livenessProbe", "readinessProbe"].flatMap((name) =>
          at(container, name) === undefined ? [] : [textAt(container, `${name}.httpGet.port`)],
        );
        assert.ok(probes.length >= 2);
        for (const port of probes) assert.ok(ports.includes(port), port);
        for (const variable of listAt(container, "env")) {
          const name = textAt(variable, "name");
          const value = at(variable, "value");
          const isSecret = at(variable, "valueFrom.secretKeyRef") !== undefined;
          assert.ok(!/URL|SECRET|PASSWORD|TOKEN/.test(name) || isSecret, name);
          assert.ok(value === undefined || typeof value === "string", `${name} is no text`);
        }
      });

      it("sets only variables that are read, and starts a program that is built", () => {
        const [source] = listAt(container, "envFrom");
        const config = named("ConfigMap", textAt(source, "configMapRef.name"));
        const names = listAt(container, "env").map((variable) => textAt(variable, "name"));
        for (const name of [...names, ...Object.keys(config.data ?? {})])
          assert.match(help, new RegExp(`^  ${name} `, "m"));
        const program = textAt(container, "args.0");
        assert.ok(existsSync(new URL(program.replace(/^dist\/(.*)\.js$/, "$1.ts"), root)), program);
        const image = textAt(container, "image");
        assert.ok(images.some(({ name }) => name === image));
        assert.ok(images.every(({ newTag }) => newTag !== "latest"));
      });

      it("is selected by its own labels, and reached as the network policy says", () => {
        const own = labelsAt(deployment.spec, "selector.matchLabels");
        assert.deepEqual(
          deployments.filter((each) => selects(own, each)),
          [deployment],
        );
        const policy = named("NetworkPolicy", "onceflow").spec;
        assert.deepEqual(at(policy, "policyTypes"), ["Ingress", "Egress"]);
        assert.ok(selects(labelsAt(policy, "podSelector.matchLabels"), deployment));
      });
    });
  }

  it("give the server the time that its drain takes, and take it away only when another is ready", () => {
    const server = named("Deployment", "onceflow-server");
    const spec = at(server.spec, "template.spec");
    const [container] = listAt(spec, "containers");
    const drain = listAt(container, "env").find(
      (variable) => at(variable, "name") === "ONCEFLOW_DRAIN_SECONDS",
    );
    const drainSeconds = Number(textAt(drain, "value"));
    // A preStop hook counts against the same time.
    assert.equal(at(container, "lifecycle"), undefined);
    const graceSeconds = Number(at(spec, "terminationGracePeriodSeconds"));
    assert.ok(graceSeconds > drainSeconds + endWithinSeconds.server);
    const [period, failures] = ["periodSeconds", "failureThreshold"].map((name) =>
      Number(at(container, `readinessProbe.${name}`)),
    );
    assert.ok(drainSeconds >= (period ?? NaN) * (failures ?? NaN));
    assert.equal(at(container, "readinessProbe.httpGet.path"), "/readyz");
    assert.equal(at(container, "livenessProbe.httpGet.path"), "/healthz");
    assert.deepEqual(at(server.spec, "strategy.rollingUpdate"), { maxUnavailable: 0, maxSurge: 1 });
    // The autoscaler owns the count, and would be overruled at each apply.
    assert.equal(at(server.spec, "replicas"), undefined);
    const { spec: scaler } = named("HorizontalPodAutoscaler", "onceflow-server");
    assert.equal(at(scaler, "scaleTargetRef.name"), "onceflow-server");
    const least = Number(at(scaler, "minReplicas"));
    assert.ok(least >= 2);
    const budget = named("PodDisruptionBudget", "onceflow-server").spec;
    assert.ok(Number(at(budget, "maxUnavailable")) < least);
    for (const labels of [
      labelsAt(budget, "selector.matchLabels"),
      labelsAt(named("NetworkPolicy", "onceflow-server").spec, "podSelector.matchLabels"),
      labelsAt(named("Service", "onceflow").spec, "selector"),
    ])
      assert.ok(selects(labels, server));
  });

  it("give a worker the time in which it finishes what it has begun", () => {
    for (const name of ["onceflow-worker-offline", "onceflow-worker-online"]) {
      const graceSeconds = at(
        named("Deployment", name).spec,
        "template.spec.terminationGracePeriodSeconds",
      );
      assert.ok(Number(graceSeconds) > endWithinSeconds.worker);
    }
  });
});

describe("The image", () => {
  const stages = read("deploy/Dockerfile")
    .replaceAll(/\\\n\s*/g, "")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .reduce<string[][]>((found, line) => {
      if (line.startsWith("FROM ")) found.push([]);
      found.at(-1)?.push(line);
      return found;
    }, []);
  const last = stages.at(-1) ?? [];

  it("is built in stages from a named release, and ends without a compiler or sources", () => {
    assert.equal(stages.length, 3);
    for (const [from = ""] of stages) assert.match(from, /^FROM node:\d+-bookworm-slim( AS \w+)?$/);
    const copies = last.filter((line) => line.startsWith("COPY"));
    assert.deepEqual(copies, [
      "COPY --from=dependencies /app/node_modules ./node_modules",
      "COPY --from=build /app/dist ./dist",
      "COPY package.json ./",
      "COPY --from=build --chown=1000:1000 /data /data",
    ]);
    assert.ok(!last.some((line) => /^(RUN|ADD)\b/.test(line)));
    const installs = stages.flat().filter((line) => line.startsWith("RUN npm ci"));
    assert.equal(installs.length, 2);
    for (const line of installs) assert.match(line, / --ignore-scripts\b/);
    assert.match(stages[1]?.join("\n") ?? "", /npm ci --omit=dev /);
  });

  it("runs as nobody special, asks callers for a key, and is looked at", () => {
    assert.ok(last.includes("USER 1000:1000"));
    const env = last.find((line) => line.startsWith("ENV")) ?? "";
    assert.match(env, / HOST=0\.0\.0\.0 .* ONCEFLOW_AUTH=keys /);
    assert.ok(last.some((line) => line.startsWith("HEALTHCHECK") && line.includes("/healthz")));
    assert.deepEqual(last.slice(-2), ['ENTRYPOINT ["node"]', 'CMD ["dist/server.js"]']);
  });

  it("has folders of its own user where a volume comes, which a fresh one takes them from", () => {
    const [, user = ""] = /^USER (.*)$/m.exec(last.join("\n")) ?? [];
    const env = last.find((line) => line.startsWith("ENV")) ?? "";
    for (const name of ["ONCEFLOW_DATA", "ONCEFLOW_OFFLINE"]) {
      const [, path = ""] = new RegExp(` ${name}=(\\S+)`).exec(env) ?? [];
      const made = stages[0]?.find((line) => line.startsWith("RUN mkdir -p")) ?? "";
      assert.ok(made.split(" ").includes(path), `${path} is not made`);
      const top = path.split("/").slice(0, 2).join("/");
      assert.ok(last.includes(`COPY --from=build --chown=${user} ${top} ${top}`), top);
    }
  });

  it("is built of every folder that is compiled, and of nothing else", () => {
    const kept = read("deploy/Dockerfile.dockerignore")
      .split("\n")
      .flatMap((line) => /^!(\w+)$/.exec(line)?.[1] ?? []);
    const { exclude } = parse(read("tsconfig.build.json")) as { readonly exclude: string[] };
    const compiled = readdirSync(root, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !entry.name.startsWith("."))
      .map(({ name }) => name)
      .filter((name) => !exclude.includes(name))
      .filter((name) =>
        readdirSync(new URL(name, root), { recursive: true, encoding: "utf8" }).some((file) =>
          file.endsWith(".ts"),
        ),
      );
    assert.deepEqual(kept.sort(), compiled.sort());
  });
});

describe("The compose file", () => {
  it("registers the search attributes that runs carry", () => {
    const temporal = membersAt(parse(read("docker-compose.yml")), "services.temporal");
    const registered = listAt(temporal, "command")
      .map((part) => /^--search-attribute=(.*)$/.exec(String(part))?.[1])
      .filter((part) => part !== undefined);
    const carried = searchAttributeKeys.map(({ name, type }) => [name, type]);
    assert.deepEqual(
      registered.map((part) => part.toUpperCase()).sort(),
      carried.map((each) => each.join("=").toUpperCase()).sort(),
    );
  });
});

describe("The page about deployment", () => {
  const page = read("docs/operations.md");
  const lines = [...page.matchAll(/^(?:docker|kubectl) .*$/gm)].map(([line]) => line);
  const { nameSuffix = "" } = kustomizationOf(`${folder}next/`);

  it("names folders, files and Deployments that are there", () => {
    const names = deployments.map(({ metadata }) => metadata.name);
    const found = lines.flatMap((line) => [...line.matchAll(/ (deploy\/\S+)/g)]);
    assert.ok(found.length > 10);
    for (const [, what = ""] of found) {
      const name = what.replace("deploy/", "").replace(new RegExp(`${nameSuffix}$`), "");
      assert.ok(names.includes(name) || existsSync(new URL(what, root)), what);
    }
  });

  it("runs containers where they reach Redis, and programs that are built", () => {
    const runs = lines.filter((line) => line.startsWith("docker run"));
    assert.ok(runs.length >= 4);
    const compose = parse(read("docker-compose.yml")) as { name: string; services: object };
    for (const line of runs) assert.ok(line.includes(` --network ${compose.name}_default `), line);
    for (const [, host = ""] of page.matchAll(/(?:REDIS_URL=redis:\/\/|TEMPORAL_ADDRESS=)(\w+):/g))
      assert.ok(host in compose.services || host === "127", host);
    for (const [, program = ""] of lines.join("\n").matchAll(/ dist\/(\w+)\.js/g))
      assert.ok(existsSync(new URL(`${program}.ts`, root)), program);
    // Of each role one that stays, and each with the metrics at a port of its own.
    const staying = runs.filter((line) => line.startsWith("docker run -d "));
    assert.deepEqual(
      staying.map((line) => / onceflow(?: (dist.*))?$/.exec(line)?.[1] ?? ""),
      ["", "dist/worker.js", "dist/worker.js --queue online"],
    );
    const [, port = ""] = /ONCEFLOW_METRICS_PORT=(\d+)/.exec(page) ?? [];
    const published = staying.map(
      (line) => new RegExp(` -p 127\\.0\\.0\\.1:(\\d+):${port} `).exec(line)?.[1],
    );
    assert.ok(!published.includes(undefined), published.join());
    assert.equal(new Set(published).size, staying.length);
  });

  it("has callers carry the label that the network policy wants", () => {
    const { spec } = named("NetworkPolicy", "onceflow-server");
    const wanted = Object.entries(labelsAt(spec, "ingress.0.from.0.podSelector.matchLabels"));
    assert.ok(wanted.length > 0);
    for (const [name, value] of wanted) assert.ok(page.includes(`\`${name}: "${value}"\``), name);
  });

  it("rolls out a build in the order of the page about orchestration", () => {
    const steps = [
      "kubectl apply -k deploy/kubernetes/next",
      "dist/client.js apply --fill",
      "kubectl apply -k deploy/kubernetes -l ",
      "dist/client.js apply\n",
      "kubectl apply -k deploy/kubernetes\n",
      "kubectl delete -k deploy/kubernetes/next",
    ];
    let at = page.indexOf("**A new build**");
    for (const step of steps) {
      const next = page.indexOf(step, at);
      assert.ok(at > 0 && next > at, step);
      at = next + step.length;
    }
    const [, selected = ""] = /-l 'app\.kubernetes\.io\/component in \((.*)\)'/.exec(page) ?? [];
    const components = deployments.map(
      ({ metadata }) => metadata.labels?.["app.kubernetes.io/component"] ?? "",
    );
    assert.deepEqual(
      selected.split(", ").sort(),
      components.filter((component) => component !== "worker-offline").sort(),
    );
  });
});
