package chart_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/yaml"

	"github.com/voicemill/voicemill/deployments/internal/helm"
	"github.com/voicemill/voicemill/platform/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const release = "mill"

// release is a rendered chart: Kubernetes' own objects in their types, others as
// they are.
type rendered struct {
	deployments map[string]*appsv1.Deployment
	jobs        map[string]*batchv1.Job
	configs     map[string]*corev1.ConfigMap
	accounts    map[string]*corev1.ServiceAccount
	services    map[string]*corev1.Service
	ingresses   map[string]*networkingv1.Ingress
	policies    map[string]*networkingv1.NetworkPolicy
	budgets     map[string]*policyv1.PodDisruptionBudget
	secrets     map[string]*corev1.Secret
	others      map[string]map[string]any // by kind/name
	all         []metav1.Object
}

// sets returns the values that the chart is tested with, by name.
func sets(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{"default": ""}
	found, err := filepath.Glob("testdata/*.yaml")
	require.NoError(t, err)
	for _, path := range found {
		raw, err := os.ReadFile(path)
		require.NoError(t, err)
		all[strings.TrimSuffix(filepath.Base(path), ".yaml")] = string(raw)
	}
	require.Len(t, all, 4)
	return all
}

// render has Helm render the chart. What Kubernetes does not know, down to the
// last field, fails the test.
func render(t *testing.T, values string) *rendered {
	t.Helper()
	out, err := helm.Run(t.Context(), values, "template", release, ".", "--namespace=speech", "--kube-version=1.35.0")
	require.NoError(t, err)
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{appsv1.AddToScheme, batchv1.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme} {
		require.NoError(t, add(scheme))
	}
	strict := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	r := &rendered{
		deployments: map[string]*appsv1.Deployment{}, jobs: map[string]*batchv1.Job{}, configs: map[string]*corev1.ConfigMap{},
		accounts: map[string]*corev1.ServiceAccount{}, services: map[string]*corev1.Service{}, ingresses: map[string]*networkingv1.Ingress{},
		policies: map[string]*networkingv1.NetworkPolicy{}, budgets: map[string]*policyv1.PodDisruptionBudget{},
		secrets: map[string]*corev1.Secret{}, others: map[string]map[string]any{},
	}
	for doc := range strings.SplitSeq(out, "\n---\n") {
		var head metav1.TypeMeta
		require.NoError(t, yaml.Unmarshal([]byte(doc), &head), doc)
		switch {
		case head.Kind == "":
			require.Empty(t, content(doc), "a document without a kind")
		case strings.HasPrefix(head.APIVersion, "monitoring.coreos.com/"):
			var o map[string]any
			require.NoError(t, yaml.UnmarshalStrict([]byte(doc), &o), doc)
			r.others[head.Kind+"/"+o["metadata"].(map[string]any)["name"].(string)] = o
		default:
			o, _, err := strict.Decode([]byte(doc), nil, nil)
			require.NoError(t, err, doc)
			r.keep(t, o)
		}
	}
	return r
}

// content is doc without its comments.
func content(doc string) string {
	var b strings.Builder
	for line := range strings.Lines(doc) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") && line != "---" {
			b.WriteString(line)
		}
	}
	return b.String()
}

func (r *rendered) keep(t *testing.T, o runtime.Object) {
	t.Helper()
	meta, ok := o.(metav1.Object)
	require.True(t, ok)
	r.all = append(r.all, meta)
	switch o := o.(type) {
	case *appsv1.Deployment:
		r.deployments[o.Name] = o
	case *batchv1.Job:
		r.jobs[o.Name] = o
	case *corev1.ConfigMap:
		r.configs[o.Name] = o
	case *corev1.ServiceAccount:
		r.accounts[o.Name] = o
	case *corev1.Service:
		r.services[o.Name] = o
	case *networkingv1.Ingress:
		r.ingresses[o.Name] = o
	case *networkingv1.NetworkPolicy:
		r.policies[o.Name] = o
	case *policyv1.PodDisruptionBudget:
		r.budgets[o.Name] = o
	case *corev1.Secret:
		r.secrets[o.Name] = o
	default:
		t.Fatalf("the chart has a %T, which no test looks at", o)
	}
}

// pods returns the templates of all pods, by the name of what makes them.
func (r *rendered) pods() map[string]corev1.PodTemplateSpec {
	all := map[string]corev1.PodTemplateSpec{}
	for name, d := range r.deployments {
		all[name] = d.Spec.Template
	}
	for name, j := range r.jobs {
		all[name] = j.Spec.Template
	}
	return all
}
