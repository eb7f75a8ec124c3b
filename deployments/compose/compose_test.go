package compose_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/deployments/internal/dockerfile"
	"github.com/voicemill/voicemill/deployments/internal/services"
)

// overlays are the ways in which the files are used together.
var overlays = map[string][]string{
	"plain": {"compose.yaml"}, "gpu": {"compose.yaml", "compose.gpu.yaml"}, "observability": {"compose.yaml", "compose.observability.yaml"},
	"all": {"compose.yaml", "compose.gpu.yaml", "compose.observability.yaml"},
}

// load has Compose's library read, check and join the files, with the variables
// of .env.example.
func load(t *testing.T, files ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions(files, cli.WithEnvFiles(".env.example"), cli.WithDotEnv, cli.WithResolvedPaths(true))
	require.NoError(t, err)
	project, err := options.LoadProject(t.Context())
	require.NoError(t, err)
	return project
}

// What the files mount is there, but for the operator's voices.
func TestComposeTakesTheFiles(t *testing.T) {
	for name, files := range overlays {
		for _, s := range load(t, files...).Services {
			for _, v := range s.Volumes {
				if v.Type == types.VolumeTypeBind && filepath.Base(v.Source) != "voices" {
					_, err := os.Stat(v.Source)
					require.NoError(t, err, "%s: %s mounts it", name, s.Name)
				}
			}
		}
	}
}

// Without secrets nothing starts with a known password: Compose names what is missing.
func TestThereAreNoDefaultSecrets(t *testing.T) {
	for _, line := range lines(t, ".env.example") {
		name, value, _ := strings.Cut(line, "=")
		if !strings.HasSuffix(name, "_PASSWORD") && !strings.HasSuffix(name, "_KEY") {
			continue
		}
		require.True(t, value == "change-me" || name == "S3_ACCESS_KEY", name)
		var env []string
		for _, other := range lines(t, ".env.example") {
			if other != line {
				env = append(env, other)
			}
		}
		options, err := cli.NewProjectOptions(overlays["all"], cli.WithEnv(env))
		require.NoError(t, err)
		_, err = options.LoadProject(t.Context())
		require.ErrorContains(t, err, name)
	}
	ignored, err := os.ReadFile("../../.gitignore")
	require.NoError(t, err)
	require.Contains(t, string(ignored), "/deployments/compose/.env\n")
}

func TestContainersKeepTheRules(t *testing.T) {
	pinned := regexp.MustCompile(`^[a-z0-9./-]+:v?[0-9]+\.[0-9.]+[a-z0-9.-]*$`)
	for _, s := range load(t, overlays["all"]...).Services {
		if s.Build == nil && s.Name != "worker-gpu" {
			require.Regexp(t, pinned, s.Image, "%s: an exact tag", s.Name)
		}
		limits := s.Deploy.Resources.Limits
		require.Positive(t, limits.NanoCPUs.Value(), s.Name)
		require.Positive(t, limits.MemoryBytes, s.Name)
		require.Contains(t, s.SecurityOpt, "no-new-privileges:true", s.Name)
		require.Equal(t, "10m", s.Logging.Options["max-size"], "%s: its log is bounded", s.Name)
		if s.Name != "engine" { // torch compiles and caches wherever it likes
			require.True(t, s.ReadOnly, s.Name)
			require.Equal(t, []string{"ALL"}, s.CapDrop, s.Name)
		}
		if soft := s.Environment["GOMEMLIMIT"]; soft != nil {
			mib, err := strconv.Atoi(strings.TrimSuffix(*soft, "MiB"))
			require.NoError(t, err)
			require.Less(t, mib<<20, int(limits.MemoryBytes), s.Name)
		}
		for _, port := range s.Ports {
			require.Equal(t, "127.0.0.1", port.HostIP, "%s: only this machine, unless .env says otherwise", s.Name)
		}
	}
}

// What waits for another's health waits for something that has a check, and
// every check of a service of ours is its image's.
func TestWhatIsWaitedForIsChecked(t *testing.T) {
	p := load(t, overlays["all"]...)
	for _, s := range p.Services {
		for name, d := range s.DependsOn {
			other, err := p.GetService(name)
			require.NoError(t, err)
			switch d.Condition {
			case types.ServiceConditionHealthy:
				require.NotNil(t, other.HealthCheck, "%s waits for the health of %s", s.Name, name)
			case types.ServiceConditionCompletedSuccessfully:
				require.NotEqual(t, "unless-stopped", other.Restart, "%s waits for the end of %s", s.Name, name)
			}
		}
	}
	for _, name := range []string{"gateway", "scheduler", "worker", "worker-gpu"} {
		s, err := p.GetService(name)
		require.NoError(t, err)
		require.Nil(t, s.HealthCheck, name)
		require.NotEmpty(t, imageOf(t, s).Health, name)
	}
}

// The services take what they are given, with what their images say, and every
// variable is one of theirs; what Compose publishes is what they listen on.
func TestServicesTakeTheirEnvironment(t *testing.T) {
	bin, err := services.Build()
	require.NoError(t, err)
	p := load(t, overlays["all"]...)
	for name, command := range map[string]string{"gateway": "gateway", "scheduler": "scheduler", "worker": "worker", "worker-gpu": "worker"} {
		s, err := p.GetService(name)
		require.NoError(t, err)
		env := ours(imageOf(t, s).Env)
		for key, value := range s.Environment {
			require.NotNil(t, value, key)
			env[key] = *value
		}
		env = ours(env)
		services.Files(t, env, "pools.example.json")
		settings, err := services.Check(t.Context(), filepath.Join(bin, command), env)
		require.NoError(t, err, name)
		for _, port := range s.Ports {
			require.Contains(t, settings, "listen: 0.0.0.0:"+strconv.Itoa(int(port.Target))+" ", name)
		}
		grace := regexp.MustCompile(`(?m)^grace: (\S+) `).FindStringSubmatch(settings)
		require.NotNil(t, grace, name)
		drain, err := time.ParseDuration(grace[1])
		require.NoError(t, err)
		require.NotNil(t, s.StopGracePeriod, name)
		require.Greater(t, time.Duration(*s.StopGracePeriod), 2*drain, "%s has time to drain", name)
	}
	init, err := p.GetService("init")
	require.NoError(t, err)
	require.Equal(t, []string{"VOICEMILL_DB_DSN"}, slices.Sorted(maps.Keys(init.Environment)))
}

// NATS reads the file as it is mounted, also if the password looks like a
// number, and syncs before it acknowledges.
func TestNATSTakesItsConfiguration(t *testing.T) {
	p := load(t, overlays["plain"]...)
	s, err := p.GetService("nats")
	require.NoError(t, err)
	for _, secret := range []string{"change-me", "8393e29a252ed1af", "12345", "1e5"} {
		for key, value := range s.Environment {
			t.Setenv(key, strings.ReplaceAll(*value, "change-me", secret))
		}
		options, err := server.ProcessConfigFile("nats.conf")
		require.NoError(t, err)
		require.True(t, options.SyncAlways)
		require.Equal(t, "voicemill", options.Username)
		require.Equal(t, secret, options.Password)
		gateway, err := p.GetService("gateway")
		require.NoError(t, err)
		require.Equal(t, "nats://voicemill:change-me@nats:"+strconv.Itoa(options.Port), *gateway.Environment["VOICEMILL_BUS_URL"])
		require.Equal(t, options.StoreDir, volume(s, "nats"))
		require.Contains(t, strings.Join(s.HealthCheck.Test, " "), ":"+strconv.Itoa(options.HTTPPort)+"/")
	}
}

// imageOf reads the Dockerfile that a service's image is built from.
func imageOf(t *testing.T, s types.ServiceConfig) dockerfile.Image {
	t.Helper()
	require.NotNil(t, s.Build, s.Name)
	im, err := dockerfile.Read(filepath.Join(s.Build.Context, s.Build.Dockerfile))
	require.NoError(t, err)
	return im
}

// ours are the variables for voicemill.
func ours(env map[string]string) map[string]string {
	out := map[string]string{}
	for key, value := range env {
		if strings.HasPrefix(key, "VOICEMILL_") {
			out[key] = value
		}
	}
	return out
}

// volume is where a service has a volume.
func volume(s types.ServiceConfig, name string) string {
	for _, v := range s.Volumes {
		if v.Source == name {
			return v.Target
		}
	}
	return ""
}

func lines(t *testing.T, file string) (lines []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}
