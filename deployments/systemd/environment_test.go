package systemd_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/deployments/internal/services"
)

// The services take the environment that the units give them, with what is
// commented out in it, too, and every variable is one of theirs.
func TestServicesTakeTheEnvironmentOfTheUnits(t *testing.T) {
	bin, err := services.Build()
	require.NoError(t, err)
	for _, name := range units {
		if !strings.HasSuffix(name, ".service") {
			continue
		}
		argv := strings.Fields(read(t, name).value("ExecStart"))
		env := environment(t, name)
		settings, err := services.Check(t.Context(), filepath.Join(bin, filepath.Base(argv[0])), env, argv[1:]...)
		require.NoError(t, err, name)
		require.Contains(t, settings, "admin: "+env["VOICEMILL_ADMIN"]+" ", name)
	}
}

// Where nothing is said, the sockets are those of the services' defaults.
func TestPortsAreTheDefaults(t *testing.T) {
	bin, err := services.Build()
	require.NoError(t, err)
	for name, command := range map[string]string{
		"voicemill-gateway.service": "gateway", "voicemill-scheduler.service": "scheduler", "voicemill-worker@.service": "worker",
	} {
		env := environment(t, name)
		admin := env["VOICEMILL_ADMIN"]
		delete(env, "VOICEMILL_ADMIN")
		settings, err := services.Check(t.Context(), filepath.Join(bin, command), env)
		require.NoError(t, err)
		require.Contains(t, settings, "admin: "+admin+" # default", name)
		if command == "gateway" {
			require.Contains(t, settings, "listen: 127.0.0.1:"+read(t, "voicemill-gateway.socket").value("ListenStream")+" # default")
		}
	}
}

// environment is what the environment files of a unit say, with what is
// commented out in them.
func environment(t *testing.T, name string) map[string]string {
	t.Helper()
	assignment := regexp.MustCompile(`(?m)^#?(VOICEMILL_[A-Z0-9_]+)=(.*)$`)
	env := map[string]string{}
	for _, o := range read(t, name) {
		if o.Name != "EnvironmentFile" || strings.HasPrefix(o.Value, "-") {
			continue
		}
		text, err := os.ReadFile(filepath.Base(o.Value))
		require.NoError(t, err, name)
		for _, found := range assignment.FindAllStringSubmatch(string(text), -1) {
			env[found[1]] = found[2]
		}
	}
	services.Files(t, env, "../compose/pools.example.json")
	return env
}
