package chart_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/voicemill/voicemill/deployments/internal/helm"
)

func TestValuesThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	for values, want := range map[string]string{
		`gatway: {replicas: 2}`:                                                   "gatway",
		`gateway: {replica: 2}`:                                                   "replica",
		`gateway: {replicas: 0}`:                                                  "replicas",
		`gateway: {gracePeriodSeconds: 30}`:                                       "gracePeriodSeconds",
		`gateway: {settings: {listen: ":1"}}`:                                     "listen",
		`settings: {db-dsn: "postgres://u:secret@h/d"}`:                           "db-dsn",
		`settings: {VOICEMILL_LOG_LEVEL: debug}`:                                  "VOICEMILL_LOG_LEVEL",
		`scheduler: {resources: {limits: {memory: 1G}}}`:                          "memory",
		`workers: [{replicas: 1}]`:                                                "name",
		`database: {dsn: "postgres://u:secret@h/d"}`:                              "dsn",
		`bucket: {secretKey: secret}`:                                             "secretKey",
		`gateway: {service: {type: ClusterIp, port: 80}}`:                         "ClusterIP",
		`gateway: {ingress: {enabled: true}}`:                                     "no host",
		`monitoring: {podMonitors: {enabled: true}}`:                              "podMonitors",
		`image: {pullPolicy: Sometimes, repository: a}`:                           "pullPolicy",
		`workers: [{name: Gpu, replicas: 1, resources: {limits: {memory: 1Gi}}}]`: "name",
	} {
		_, err := helm.Run(t.Context(), values, "template", release, ".", "--kube-version=1.35.0")
		require.ErrorContains(t, err, want, values)
	}
}

func TestValuesDoWhatTheySay(t *testing.T) {
	t.Parallel()
	all := sets(t)

	least := render(t, all["least"])
	require.Len(t, least.deployments, 2)
	require.Empty(t, least.jobs)
	require.Empty(t, least.budgets)
	require.Empty(t, least.policies)
	require.Empty(t, least.others)

	usual := render(t, all["default"])
	require.EqualValues(t, 2, *usual.deployments["mill-voicemill-scheduler"].Spec.Replicas, "one stands by")
	require.Len(t, usual.budgets, 3)
	require.Empty(t, usual.policies["mill-voicemill-worker-espeak"].Spec.Ingress, "nobody calls a worker")
	require.Empty(t, usual.policies["mill-voicemill-gateway"].Spec.Ingress[0].From, "everybody may call the gateway")
	hook := usual.jobs["mill-voicemill-init"]
	require.Equal(t, "pre-install,pre-upgrade", hook.Annotations["helm.sh/hook"])
	require.Equal(t, "before-hook-creation", hook.Annotations["helm.sh/hook-delete-policy"], "it can be repeated")
	require.Equal(t, []string{"init", "--first-key=/etc/voicemill/first-key/first-key"}, hook.Spec.Template.Spec.Containers[0].Args, "the key is in no log")
	require.Equal(t, "mill-voicemill-first-key", hook.Spec.Template.Spec.Volumes[1].Secret.SecretName)
	made := usual.secrets["mill-voicemill-first-key"]
	require.Regexp(t, `^vm_[0-9a-z]{26}$`, made.StringData["first-key"])
	require.Equal(t, map[string]string{"helm.sh/hook": "pre-install,pre-upgrade", "helm.sh/hook-weight": "-5", "helm.sh/resource-policy": "keep"}, made.Annotations, "before the job")
	env := usual.deployments["mill-voicemill-gateway"].Spec.Template.Spec.Containers[0].Env
	require.Contains(t, env, corev1.EnvVar{Name: "GOMEMLIMIT", Value: "768MiB"}, "three quarters of 1Gi")

	gpu := render(t, all["gpu"]).deployments["mill-voicemill-worker-gpu"]
	require.EqualValues(t, 3, *gpu.Spec.Replicas)
	pod := gpu.Spec.Template.Spec
	require.Equal(t, "1", pod.Containers[1].Resources.Limits.Name("nvidia.com/gpu", "").String())
	require.Equal(t, map[string]string{"nvidia.com/gpu.present": "true"}, pod.NodeSelector)
	require.Equal(t, corev1.TolerationOpExists, pod.Tolerations[0].Operator)
	require.EqualValues(t, 8091, ports(pod)["engine"])

	full := render(t, all["full"])
	require.Empty(t, full.secrets, "the operator's own is used")
	require.Equal(t, "voicemill.example", full.ingresses["mill-speech-gateway"].Spec.Rules[0].Host)
	gateway := full.deployments["mill-speech-gateway"].Spec.Template
	require.Equal(t, "registry.example/mirror/voicemill/gateway:v1.2.3", gateway.Spec.Containers[0].Image)
	require.Equal(t, "pull", gateway.Spec.ImagePullSecrets[0].Name)
	require.Equal(t, "b", gateway.Annotations["example.com/a"])
	require.Len(t, full.policies["mill-speech-gateway"].Spec.PolicyTypes, 2)
	require.Contains(t, full.configs["mill-speech-gateway"].Data["settings.yaml"], "max-buffered: 268435456")
	require.NotEqual(t, usual.deployments["mill-voicemill-gateway"].Spec.Template.Annotations["checksum/settings"], gateway.Annotations["checksum/settings"])
}

// Monitors give targets the names that the rules ask for; the rules and the
// dashboard are those of deployments/observability.
func TestMonitoringIsThatOfTheFolderBeside(t *testing.T) {
	t.Parallel()
	full := render(t, sets(t)["full"])
	for _, name := range []string{"gateway", "scheduler", "worker"} {
		monitor := full.others["PodMonitor/mill-speech-"+name]
		require.NotNil(t, monitor, name)
		text, err := yaml.Marshal(monitor)
		require.NoError(t, err)
		require.Contains(t, string(text), "replacement: voicemill-"+name)
		require.Contains(t, string(text), "port: admin")
	}
	var want []any
	for _, file := range []string{"recording", "alerts"} {
		raw, err := os.ReadFile("../observability/rules/" + file + ".yml")
		require.NoError(t, err)
		var rules struct{ Groups []any }
		require.NoError(t, yaml.Unmarshal(raw, &rules))
		want = append(want, rules.Groups...)
	}
	require.Equal(t, want, full.others["PrometheusRule/mill-speech"]["spec"].(map[string]any)["groups"])
	dashboard, err := os.ReadFile("../observability/grafana/dashboards/voicemill.json")
	require.NoError(t, err)
	require.JSONEq(t, string(dashboard), full.configs["mill-speech-dashboard"].Data["voicemill.json"])
}
