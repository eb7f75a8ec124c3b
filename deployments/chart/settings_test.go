package chart_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/voicemill/voicemill/deployments/internal/services"
)

// mounted is where the pods find what is mounted.
const mounted = "/etc/voicemill"

// place writes what a pod mounts from the chart's own ConfigMaps below dir, and
// returns the arguments of its first container for there.
func place(t *testing.T, r *rendered, p corev1.PodSpec, dir string) []string {
	t.Helper()
	for _, m := range p.Containers[0].VolumeMounts {
		to := strings.Replace(m.MountPath, mounted, dir, 1)
		for _, v := range p.Volumes {
			if v.Name != m.Name || v.ConfigMap == nil || r.configs[v.ConfigMap.Name] == nil {
				continue
			}
			require.NoError(t, os.MkdirAll(to, 0o755)) //nolint:gosec // as Kubernetes mounts it
			for name, text := range r.configs[v.ConfigMap.Name].Data {
				require.NoError(t, os.WriteFile(filepath.Join(to, name), []byte(strings.ReplaceAll(text, mounted, dir)), 0o600))
			}
		}
	}
	var args []string
	for _, a := range p.Containers[0].Args {
		args = append(args, strings.ReplaceAll(a, mounted, dir))
	}
	return args
}

// environment returns what a container is given, with env for the secrets.
func environment(t *testing.T, c corev1.Container, env map[string]string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, e := range c.Env {
		all[e.Name] = e.Value
		if e.ValueFrom != nil {
			require.Contains(t, env, e.Name)
			all[e.Name] = env[e.Name]
		}
	}
	return all
}

// Every command takes what the chart gives it, and listens where the chart's
// probes, Services and monitors look.
func TestCommandsTakeTheirSettings(t *testing.T) {
	t.Parallel()
	bin, err := services.Build()
	require.NoError(t, err)
	secrets := map[string]string{"VOICEMILL_DB_DSN": "postgres://u:p@db/v", "VOICEMILL_BLOB_ACCESS_KEY": "key", "VOICEMILL_BLOB_SECRET_KEY": "secret", "VOICEMILL_BUCKET_KEYS": "a:" + strings.Repeat("A", 43) + "="}
	for set, values := range sets(t) {
		r := render(t, values)
		for name, d := range r.deployments {
			pod := d.Spec.Template.Spec
			c := pod.Containers[0]
			dir := t.TempDir()
			certify(t, filepath.Join(dir, "tls"))
			require.True(t, strings.HasSuffix(strings.Split(c.Image, ":")[0], "/"+c.Name), "%s runs the image of %s", c.Image, c.Name)
			out, err := services.Check(t.Context(), filepath.Join(bin, c.Name), environment(t, c, secrets), place(t, r, pod, dir)...)
			require.NoError(t, err, "%s of %s", name, set)
			var effective map[string]any
			require.NoError(t, yaml.Unmarshal([]byte(out), &effective))
			known := ports(pod)
			require.Equal(t, fmt.Sprintf(":%d", known["admin"]), effective["admin"], name)
			if c.Name == "gateway" {
				require.Equal(t, fmt.Sprintf(":%d", known["clients"]), effective["listen"])
			}
			if strings.HasSuffix(name, "-gpu") {
				require.Equal(t, "2m", effective["call-time"])
				require.Equal(t, "debug", effective["log-level"])
			}
		}
	}
}

// certify writes what a secret of type kubernetes.io/tls has.
func certify(t *testing.T, dir string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"voicemill.example"}}
	cert, err := x509.CreateCertificate(rand.Reader, &template, &template, public, private)
	require.NoError(t, err)
	key, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(dir, 0o700))
	for name, block := range map[string]pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: cert}, "tls.key": {Type: "PRIVATE KEY", Bytes: key}} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&block), 0o600))
	}
}

// The services run with what the chart gives them and the addresses of this
// machine, and answer where the probes ask.
func TestProbesAreAnswered(t *testing.T) {
	t.Parallel()
	bin, err := services.Build()
	require.NoError(t, err)
	env := services.Backing(t)
	key := "vm_00000000000000000000000abc"
	r := render(t, fmt.Sprintf(`
init: {firstKey: {name: first, key: value}}
bus: {url: %q}
bucket: {endpoint: %q, name: %q}
`, env["VOICEMILL_BUS_URL"], env["VOICEMILL_BLOB_ENDPOINT"], env["VOICEMILL_BLOB_BUCKET"]))
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "first-key"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "first-key", "value"), []byte(key+"\n"), 0o400))
	pod := r.jobs[release+"-voicemill-init"].Spec.Template.Spec
	for range 2 { // the job is repeated with every upgrade
		out, err := command(t, filepath.Join(bin, "voicemill"), environment(t, pod.Containers[0], env), place(t, r, pod, dir)...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.NotContains(t, string(out), key)
	}
	for _, name := range []string{"worker-espeak", "scheduler", "gateway"} {
		pod := r.deployments[release+"-voicemill-"+name].Spec.Template.Spec
		c := pod.Containers[0]
		admin, clients := services.FreeAddress(t), services.FreeAddress(t)
		args := append(place(t, r, pod, t.TempDir()), "--admin="+admin)
		if c.Name == "gateway" {
			args = append(args, "--listen="+clients)
		}
		services.Start(t, command(t, filepath.Join(bin, c.Name), environment(t, c, env), args...))
		for _, probe := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
			services.Get(t, "http://"+admin+probe.HTTPGet.Path, http.StatusOK)
		}
		services.Get(t, "http://"+admin+"/metrics", http.StatusOK)
	}
}

func command(t *testing.T, path string, env map[string]string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(path, args...) //nolint:noctx // services.Start ends what serves
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd
}
