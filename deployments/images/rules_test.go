package images_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/deployments/internal/dockerfile"
	"github.com/voicemill/voicemill/deployments/internal/services"
	"github.com/voicemill/voicemill/platform/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestImagesKeepTheRules(t *testing.T) {
	pinned := regexp.MustCompile(`^[a-z0-9./-]+:v?[0-9]+\.[0-9.]+[a-z0-9.-]*$`)
	for _, name := range names(t) {
		im := read(t, name)
		for _, base := range im.Bases {
			require.Regexp(t, pinned, base, "%s: an exact tag", name)
		}
		require.Equal(t, "65532:65532", im.User, "%s: nobody's id, as a number that Kubernetes can check", name)
		require.Len(t, im.Entrypoint, 1, name)
		require.NotEmpty(t, im.Health, name)
		for _, label := range []string{"title", "description", "source", "documentation", "licenses", "version"} {
			require.NotEmpty(t, im.Labels["org.opencontainers.image."+label], "%s: label %s", name, label)
		}
		for _, run := range im.Runs {
			for _, option := range []string{"--no-install-recommends", "/var/lib/apt/lists/*"} {
				require.True(t, !strings.Contains(run, "apt-get") || strings.Contains(run, option), "%s: %s", name, option)
			}
		}
	}
}

// Every image is built by `make build`, in one stage that buildkit runs once for all.
func TestImagesAreBuiltAsByHand(t *testing.T) {
	first := read(t, names(t)[0]).Build
	require.Contains(t, first, "make build VERSION=${VERSION}")
	for _, name := range names(t) {
		require.Equal(t, first, read(t, name).Build, name)
	}
}

// What an image has installed is what scripts/setup installs for the tests.
func TestImagesInstallWhatTheTestsUse(t *testing.T) {
	setup := fileText(t, "../../scripts/setup")
	for _, name := range names(t) {
		for _, pin := range regexp.MustCompile(`'([a-z0-9-]+=[^']+)'`).FindAllStringSubmatch(strings.Join(read(t, name).Runs, "\n"), -1) {
			require.Contains(t, setup, "'"+pin[1]+"'", name)
		}
	}
}

// The ports that an image names are those that its services have by default,
// and its variables are known to them.
func TestImagesExposeTheServicesPorts(t *testing.T) {
	bin, err := services.Build()
	require.NoError(t, err)
	port := regexp.MustCompile(`(?m)^(?:listen|admin|s3-listen): \S+:(\d+) `)
	for name, commands := range map[string][][]string{
		"gateway": {{"gateway"}}, "scheduler": {{"scheduler"}}, "worker": {{"worker"}}, "voicemill": {{"voicemill", "up"}},
		"gateway-engine": {{"gateway"}, {"worker"}},
	} {
		im, found := read(t, name), map[string]bool{}
		for _, command := range commands {
			for _, settings := range []map[string]string{elsewhere(command[0], nil), elsewhere(command[0], im.Env)} {
				text, err := services.Check(t.Context(), filepath.Join(bin, command[0]), settings, command[1:]...)
				require.NoError(t, err, name)
				for _, p := range port.FindAllStringSubmatch(text, -1) {
					found[p[1]] = true
				}
			}
		}
		require.Len(t, found, len(im.Ports), "%s: %v and %v", name, found, im.Ports)
		for _, p := range im.Ports {
			require.True(t, found[p], "%s: %s", name, p)
		}
		admin := map[string]string{"scheduler": "7862", "worker": "7863"}[name]
		if admin == "" {
			admin = "7861"
		}
		require.Contains(t, im.Health[len(im.Health)-1], "/127.0.0.1/"+admin+" ", name)
	}
}

// elsewhere is the environment of a service whose Postgres and bucket are
// elsewhere, with VOICEMILL_ variables of env.
func elsewhere(command string, env map[string]string) map[string]string {
	out := map[string]string{}
	if command != "voicemill" {
		out["VOICEMILL_DB_DSN"], out["VOICEMILL_BLOB_ENDPOINT"] = "postgres://db/voicemill", "s3:7070"
		out["VOICEMILL_BLOB_ACCESS_KEY"], out["VOICEMILL_BLOB_SECRET_KEY"] = "key", "secret"
	}
	for name, value := range env {
		if strings.HasPrefix(name, "VOICEMILL_") {
			out[name] = value
		}
	}
	return out
}

// The build context has every file that the commands are made from, and what
// the images copy is in it or comes from `make build`.
func TestContextIsEnoughToBuild(t *testing.T) {
	root, err := services.Root()
	require.NoError(t, err)
	context := t.TempDir()
	files := contextFiles(t, root)
	for _, f := range files {
		to := filepath.Join(context, f)
		require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o755))                                 //nolint:gosec // sources
		require.NoError(t, os.WriteFile(to, []byte(fileText(t, filepath.Join(root, f))), 0o644)) //nolint:gosec // sources
	}
	plan := command(t, context, "make", "--dry-run", "build", "VERSION=test")
	commands := regexp.MustCompile(`go build .*-o bin/(\S+) (\S+)`).FindAllStringSubmatch(plan, -1)
	require.Len(t, commands, 6, plan)
	var made []string
	for _, c := range commands {
		made = append(made, "/src/bin/"+c[1])
		command(t, context, "go", "list", "-deps", c[2])
	}
	for _, name := range names(t) {
		for _, c := range read(t, name).Copies {
			from := made
			if c.From == "" {
				from = files
			}
			for _, source := range c.Sources {
				require.Contains(t, from, source, name)
			}
		}
	}
}

// contextFiles are the files that .dockerignore lets through.
func contextFiles(t *testing.T, root string) (files []string) {
	t.Helper()
	f, err := os.Open(filepath.Join(root, ".dockerignore"))
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	patterns, err := ignorefile.ReadAll(f)
	require.NoError(t, err)
	matcher, err := patternmatcher.New(patterns)
	require.NoError(t, err)
	for file := range strings.Lines(command(t, root, "git", "ls-files", "--cached", "--others", "--exclude-standard")) {
		file = strings.TrimSpace(file)
		ignored, err := matcher.MatchesOrParentMatches(file)
		require.NoError(t, err)
		if !ignored {
			files = append(files, file)
		}
	}
	require.False(t, slices.ContainsFunc(files, func(f string) bool { return strings.HasSuffix(f, "_test.go") }))
	return files
}

func read(t *testing.T, name string) dockerfile.Image {
	t.Helper()
	im, err := dockerfile.Read(name + ".Dockerfile")
	require.NoError(t, err)
	return im
}

func names(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob("*.Dockerfile")
	require.NoError(t, err)
	require.Len(t, files, 5)
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f, ".Dockerfile"))
	}
	return names
}

func command(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}

func fileText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(text)
}
