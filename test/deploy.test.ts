import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { parse, parseAllDocuments } from "yaml";

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
  // The specs of so many kinds.
  readonly spec: any; // eslint-disable-line @typescript-eslint/no-explicit-any
}
/* eslint-disable @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-argument */
/* eslint-disable @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-call */
/* eslint-disable @typescript-eslint/no-unsafe-return */

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
const selects = (selector: Readonly<Record<string, string>>, { spec }: Resource) =>
  Object.entries(selector).every(
    ([label, value]) => spec.template.metadata.labels[label] === value,
  );

describe("The Kubernetes manifests", () => {
  it("are all in the kustomization, but the claim, whose end is that of the data", () => {
    const files = readdirSync(new URL(folder, root), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".yaml") && !name.endsWith("kustomization.yaml"))
      .map((name) => folder + name);
    assert.deepEqual([...filesOf(folder), `${folder}claim.yaml`].sort(), files.sort());
    assert.deepEqual(
      deployments.map(({ metadata }) => metadata.name),
      ["onceflow-server", "onceflow-worker-offline", "onceflow-worker-online"],
    );
  });

  it("have a claim that offline workers on several nodes can mount", () => {
    const [claim] = documentsOf(`${folder}claim.yaml`);
    assert.equal(claim?.kind, "PersistentVolumeClaim");
    assert.deepEqual(claim.spec.accessModes, ["ReadWriteMany"]);
    const { spec } = named("Deployment", "onceflow-worker-offline").spec.template;
    const volume = spec.volumes.find(({ name }: { name: string }) => name === "data");
    assert.equal(volume.persistentVolumeClaim.claimName, claim.metadata.name);
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
    for (const [name, value] of Object.entries(label.pairs)) {
      assert.ok(spec.selector.matchLabels[name], name);
      assert.notEqual(spec.selector.matchLabels[name], value);
    }
    assert.deepEqual(
      nextImages.map(({ name }) => name),
      images.map(({ name }) => name),
    );
  });

  for (const deployment of deployments) {
    const { spec } = deployment.spec.template;
    const [container] = spec.containers;
    describe(deployment.metadata.name, () => {
      it("runs without rights: no root, no writes, no capabilities, no token", () => {
        assert.equal(spec.containers.length, 1);
        assert.equal(spec.automountServiceAccountToken, false);
        assert.equal(spec.serviceAccountName, named("ServiceAccount", "onceflow").metadata.name);
        assert.equal(spec.securityContext.runAsNonRoot, true);
        assert.ok(spec.securityContext.runAsUser > 0);
        assert.equal(spec.securityContext.seccompProfile.type, "RuntimeDefault");
        assert.deepEqual(container.securityContext, {
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ["ALL"] },
        });
        for (const key of ["hostNetwork", "hostPID", "hostIPC"]) assert.ok(!(key in spec), key);
        for (const volume of spec.volumes) assert.ok(!("hostPath" in volume));
      });

      it("has requests and limits of CPU and memory", () => {
        for (const kind of ["requests", "limits"])
          for (const what of ["cpu", "memory"]) assert.ok(container.resources[kind][what], what);
      });

      it("has probes at ports that it names, and no password of its own", () => {
        const ports = container.ports.map(({ name }: { name: string }) => name);
        const probes = ["startupProbe", "livenessProbe", "readinessProbe"].flatMap((name) =>
          container[name] ? [container[name].httpGet] : [],
        );
        assert.ok(probes.length >= 2);
        for (const { port } of probes) assert.ok(ports.includes(port), port);
        for (const { name, value, valueFrom } of container.env) {
          assert.ok(!/URL|SECRET|PASSWORD|TOKEN/.test(name) || valueFrom?.secretKeyRef, name);
          assert.ok(value === undefined || typeof value === "string", `${name} is no text`);
        }
      });

      it("sets only variables that are read, and starts a program that is built", () => {
        const known = ["settings.ts", "server.ts", "serving/auth/settings.ts"].map(read).join("\n");
        const config = named("ConfigMap", container.envFrom[0].configMapRef.name);
        const names = container.env.map(({ name }: { name: string }) => name);
        for (const name of [...names, ...Object.keys(config.data ?? {})])
          assert.match(known, new RegExp(`\\b${name}\\b`));
        const [program] = container.args;
        assert.ok(existsSync(new URL(program.replace(/^dist\/(.*)\.js$/, "$1.ts"), root)), program);
        assert.ok(images.some(({ name }) => name === container.image));
        assert.ok(images.every(({ newTag }) => newTag !== "latest"));
      });

      it("is selected by its own labels, and reached as the network policy says", () => {
        const { matchLabels } = deployment.spec.selector;
        assert.deepEqual(
          deployments.filter((each) => selects(matchLabels, each)),
          [deployment],
        );
        const { policyTypes, podSelector } = named("NetworkPolicy", "onceflow").spec;
        assert.deepEqual(policyTypes, ["Ingress", "Egress"]);
        assert.ok(selects(podSelector.matchLabels, deployment));
      });
    });
  }

  it("give the server the time that its drain takes, and take it away only when another is ready", () => {
    const server = named("Deployment", "onceflow-server");
    const { spec } = server.spec.template;
    const [{ env, readinessProbe, livenessProbe, lifecycle }] = spec.containers;
    const drain = env.find(({ name }: { name: string }) => name === "ONCEFLOW_DRAIN_SECONDS");
    const [, closeWithinMs = ""] = /closeWithinMs = ([\d_]+)/.exec(read("server.ts")) ?? [];
    const closeSeconds = Number(closeWithinMs.replaceAll("_", "")) / 1000;
    assert.ok(closeSeconds > 0);
    // A preStop hook counts against the same time.
    assert.equal(lifecycle, undefined);
    assert.ok(spec.terminationGracePeriodSeconds > Number(drain.value) + closeSeconds);
    assert.ok(
      Number(drain.value) >= readinessProbe.periodSeconds * readinessProbe.failureThreshold,
    );
    assert.equal(readinessProbe.httpGet.path, "/readyz");
    assert.equal(livenessProbe.httpGet.path, "/healthz");
    assert.deepEqual(server.spec.strategy.rollingUpdate, { maxUnavailable: 0, maxSurge: 1 });
    // The autoscaler owns the count, and would be overruled at each apply.
    assert.ok(!("replicas" in server.spec));
    const { spec: scaler } = named("HorizontalPodAutoscaler", "onceflow-server");
    assert.equal(scaler.scaleTargetRef.name, "onceflow-server");
    assert.ok(scaler.minReplicas >= 2);
    const budget = named("PodDisruptionBudget", "onceflow-server").spec;
    assert.ok(budget.maxUnavailable < scaler.minReplicas);
    for (const { matchLabels } of [
      budget.selector,
      named("NetworkPolicy", "onceflow-server").spec.podSelector,
    ])
      assert.ok(selects(matchLabels, server));
    assert.ok(selects(named("Service", "onceflow").spec.selector, server));
  });

  it("give a worker the time in which it finishes what it has begun", () => {
    const [, graceSeconds = ""] = /graceTime = "(\d+) s"/.exec(read("worker.ts")) ?? [];
    for (const name of ["onceflow-worker-offline", "onceflow-worker-online"]) {
      const { spec } = named("Deployment", name).spec.template;
      assert.ok(spec.terminationGracePeriodSeconds > Number(graceSeconds));
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
  });

  it("has callers carry the label that the network policy wants", () => {
    const { ingress } = named("NetworkPolicy", "onceflow-server").spec;
    const wanted = Object.entries(ingress[0].from[0].podSelector.matchLabels as object);
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
