package chart_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	checks "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/voicemill/voicemill/deployments/internal/helm"
)

func TestHelmFindsNoFault(t *testing.T) {
	t.Parallel()
	for name, values := range sets(t) {
		out, err := helm.Run(t.Context(), values, "lint", ".", "--strict", "--kube-version=1.35.0")
		require.NoError(t, err, name)
		require.NotContains(t, out, "[WARNING]", name)
	}
}

// What names something names something that is there.
func TestObjectsFitTogether(t *testing.T) {
	t.Parallel()
	for name, values := range sets(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := render(t, values)
			for _, o := range r.all {
				require.Empty(t, validation.IsDNS1035Label(o.GetName()), o.GetName())
				require.Empty(t, checks.ValidateLabels(o.GetLabels(), field.NewPath("labels")), o.GetName())
			}
			for name, d := range r.deployments {
				require.True(t, selects(t, d.Spec.Selector, d.Spec.Template.Labels), "%s does not select its own pods", name)
				for other, o := range r.deployments {
					require.False(t, other != name && selects(t, d.Spec.Selector, o.Spec.Template.Labels), "%s selects the pods of %s", name, other)
				}
			}
			for name, p := range r.pods() {
				fits(t, r, name, p.Spec)
			}
			for name, b := range r.budgets {
				require.True(t, selects(t, b.Spec.Selector, r.deployments[name].Spec.Template.Labels), name)
			}
			for name, p := range r.policies {
				require.True(t, selects(t, &p.Spec.PodSelector, r.deployments[name].Spec.Template.Labels), name)
				for _, in := range p.Spec.Ingress {
					for _, port := range in.Ports {
						require.Contains(t, ports(r.deployments[name].Spec.Template.Spec), port.Port.StrVal, name)
					}
				}
			}
			for name, s := range r.services {
				pod := r.deployments[name].Spec.Template
				require.True(t, labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(pod.Labels)), name)
				for _, port := range s.Spec.Ports {
					require.Contains(t, ports(pod.Spec), port.TargetPort.StrVal, name)
				}
			}
			for _, i := range r.ingresses {
				backend := i.Spec.Rules[0].HTTP.Paths[0].Backend.Service
				require.Equal(t, r.services[backend.Name].Spec.Ports[0].Name, backend.Port.Name)
			}
		})
	}
}

func selects(t *testing.T, s *metav1.LabelSelector, set map[string]string) bool {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(s)
	require.NoError(t, err)
	return selector.Matches(labels.Set(set))
}

// ports returns the ports of a pod's containers by their names.
func ports(p corev1.PodSpec) map[string]int32 {
	all := map[string]int32{}
	for _, c := range p.Containers {
		for _, port := range c.Ports {
			all[port.Name] = port.ContainerPort
		}
	}
	return all
}

// fits checks what a pod names: its account, volumes, ports.
func fits(t *testing.T, r *rendered, name string, p corev1.PodSpec) {
	t.Helper()
	if p.ServiceAccountName != "default" { // of the namespace: a hook comes before the chart's own
		require.Contains(t, r.accounts, p.ServiceAccountName, name)
	}
	volumes := map[string]bool{}
	for _, v := range p.Volumes {
		volumes[v.Name] = false
		if v.ConfigMap != nil && v.ConfigMap.Name != "voices" { // the user's
			require.Contains(t, r.configs, v.ConfigMap.Name, name)
		}
	}
	for _, c := range p.Containers {
		own := map[string]bool{}
		for _, port := range c.Ports {
			require.Empty(t, validation.IsValidPortName(port.Name), name)
			own[port.Name] = true
		}
		for _, probe := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
			if probe != nil {
				require.Equal(t, intstr.String, probe.HTTPGet.Port.Type, name)
				require.True(t, own[probe.HTTPGet.Port.StrVal], "%s: a probe asks port %s", name, probe.HTTPGet.Port.StrVal)
			}
		}
		for _, m := range c.VolumeMounts {
			require.Contains(t, volumes, m.Name, name)
			volumes[m.Name] = true
		}
	}
	for v, used := range volumes {
		require.True(t, used, "%s: nobody mounts %s", name, v)
	}
}

func TestPodsAreHardened(t *testing.T) {
	t.Parallel()
	for name, values := range sets(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for name, pod := range render(t, values).pods() {
				p := pod.Spec
				require.False(t, *p.AutomountServiceAccountToken, name)
				// Kubernetes sets VOICEMILL_GATEWAY_PORT and others for a Service of that name,
				// and a variable that no setting has ends a start.
				require.False(t, *p.EnableServiceLinks, name)
				require.True(t, *p.SecurityContext.RunAsNonRoot, name)
				require.EqualValues(t, 65532, *p.SecurityContext.RunAsUser, name)
				require.Equal(t, corev1.SeccompProfileTypeRuntimeDefault, p.SecurityContext.SeccompProfile.Type, name)
				for _, c := range p.Containers {
					s := c.SecurityContext
					require.False(t, *s.AllowPrivilegeEscalation, name)
					require.True(t, *s.ReadOnlyRootFilesystem, name)
					require.Equal(t, []corev1.Capability{"ALL"}, s.Capabilities.Drop, name)
					require.False(t, c.Resources.Limits.Memory().IsZero(), "%s: %s has no limit of memory", name, c.Name)
				}
			}
		})
	}
}

// Secrets are named, never held, and no setting of a file is one.
func TestSecretsAreReferences(t *testing.T) {
	t.Parallel()
	r := render(t, sets(t)["full"])
	want := map[string][2]string{"VOICEMILL_DB_DSN": {"pg", "uri"}, "VOICEMILL_BLOB_ACCESS_KEY": {"s3", "id"}, "VOICEMILL_BLOB_SECRET_KEY": {"s3", "secret"}}
	for name, pod := range r.pods() {
		got := map[string][2]string{}
		for _, e := range pod.Spec.Containers[0].Env {
			if e.ValueFrom != nil {
				got[e.Name] = [2]string{e.ValueFrom.SecretKeyRef.Name, e.ValueFrom.SecretKeyRef.Key}
			}
		}
		if name == release+"-speech-init" {
			require.Equal(t, want["VOICEMILL_DB_DSN"], got["VOICEMILL_DB_DSN"])
			continue
		}
		expected := maps.Clone(want)
		if name == release+"-speech-gateway" || name == release+"-speech-scheduler" { // who keep and who open credentials of buckets
			expected["VOICEMILL_BUCKET_KEYS"] = [2]string{"delivery", "keys"}
		}
		require.Equal(t, expected, got, name)
	}
	require.NotContains(t, slices.Collect(maps.Keys(r.others)), "Secret")
}
