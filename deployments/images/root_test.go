package images_test

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/deployments/internal/dockerfile"
	"github.com/voicemill/voicemill/deployments/internal/services"
)

// A minimal Debian is what the image debian:12-slim is: the same packages,
// without documentation and translations.
var bootstrap = []string{
	"mmdebstrap", "--quiet", "--variant=minbase", "--aptopt=Acquire::Languages \"none\"", "--dpkgopt=force-unsafe-io",
	"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
	"--skip=cleanup/apt/lists", "bookworm",
}

const (
	// In a mount namespace of its own, with the root in $0.
	runIn = `mount -t proc proc "$0/proc" && exec chroot "$0" /bin/sh -c "$1"`

	// As `docker run --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges` does.
	startIn = `root=$0 user=$1; shift
		mount --bind "$root" "$root" && mount -o remount,bind,ro "$root" && mount -t tmpfs tmpfs "$root/tmp" && mount -t proc proc "$root/proc" &&
		exec chroot "$root" setpriv --reuid "$user" --regid "$user" --clear-groups --bounding-set -all --no-new-privs "$@"`
)

// What the Dockerfiles of gateway and worker install and copy makes programs
// that start as the images start them, read-only and as nobody, and that the
// images' own health checks find ready: the worker has found espeak-ng and made
// its voices known.
func TestProgramsRunInTheirImages(t *testing.T) {
	roots := assemble(t, "gateway", "worker")
	env := services.Backing(t)
	for _, name := range []string{"worker", "gateway"} {
		im, admin := read(t, name), services.FreeAddress(t)
		settings := []string{"VOICEMILL_ADMIN=" + admin}
		if name == "gateway" {
			settings = append(settings, "VOICEMILL_LISTEN="+services.FreeAddress(t))
		}
		for key, value := range env {
			settings = append(settings, key+"="+value)
		}
		start := func(argv ...string) *exec.Cmd {
			id, _, _ := strings.Cut(im.User, ":")
			args := append([]string{"--mount", "sh", "-ec", startIn, roots[name], id, "env", "-i"}, settings...)
			return exec.Command("unshare", append(args, argv...)...) //nolint:gosec,noctx // the test ends it
		}
		out, err := start("sh", "-c", "touch /here 2>&1; touch /tmp/here && id -u && cat /proc/self/status").CombinedOutput()
		require.NoError(t, err, string(out))
		require.Contains(t, string(out), "Read-only file system")
		require.Contains(t, string(out), "\n65532\n")
		require.Regexp(t, `CapBnd:\s+0+\n`, string(out))
		services.Start(t, start(append(im.Entrypoint, im.Cmd...)...))
		services.Get(t, "http://"+admin+"/healthz", http.StatusOK)
		services.Get(t, "http://"+admin+"/readyz", http.StatusOK)
		_, port, err := net.SplitHostPort(admin)
		require.NoError(t, err)
		probe := strings.Replace(im.Health[2], "/127.0.0.1/"+im.Ports[len(im.Ports)-1]+" ", "/127.0.0.1/"+port+" ", 1)
		out, err = start(im.Health[0], im.Health[1], probe).CombinedOutput()
		require.NoError(t, err, string(out))
		require.Error(t, start(im.Health[0], im.Health[1], strings.Replace(probe, "/readyz", "/nothing", 1)).Run())
	}
}

// assemble does what the Dockerfiles run and copy, each in a Debian of its own.
func assemble(t *testing.T, names ...string) map[string]string {
	t.Helper()
	require.Zero(t, os.Geteuid(), "run as root: this test installs packages in a root of its own")
	top, err := services.Root()
	require.NoError(t, err)
	cache := filepath.Join(top, ".cache", "deployments", "roots")
	require.NoError(t, os.MkdirAll(cache, 0o755)) //nolint:gosec // others start programs in it
	lock, err := os.Create(cache + ".lock")
	require.NoError(t, err)
	t.Cleanup(func() { _ = lock.Close() })
	require.NoError(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	base := cached(t, filepath.Join(cache, "base"), strings.Join(bootstrap, "\n"), func(dir string) error {
		return run(append(bootstrap, dir)...)
	})
	roots, failed := map[string]string{}, make(chan error, len(names))
	for _, name := range names {
		im := read(t, name)
		key := strings.Join(append(bootstrap, im.Runs...), "\n")
		root := filepath.Join(cache, name)
		roots[name] = root
		go func() {
			failed <- keep(root, key, func(dir string) error { return install(base, dir, im.Runs) })
		}()
	}
	for range names {
		err = errors.Join(err, <-failed)
	}
	require.NoError(t, err)
	for _, name := range names {
		copyInto(t, roots[name], read(t, name))
	}
	return roots
}

func install(base, dir string, lines []string) error {
	if err := run("cp", "-a", base, dir); err != nil {
		return err
	}
	if err := run("cp", "-L", "/etc/resolv.conf", "/etc/hosts", dir+"/etc/"); err != nil {
		return err
	}
	for _, line := range lines {
		if err := run("unshare", "--mount", "--pid", "--fork", "sh", "-ec", runIn, dir, line); err != nil {
			return err
		}
	}
	return nil
}

// copyInto does the COPY lines with the programs that were built.
func copyInto(t *testing.T, root string, im dockerfile.Image) {
	t.Helper()
	bin, err := services.Build()
	require.NoError(t, err)
	for _, c := range im.Copies {
		require.Equal(t, "build", c.From)
		for _, source := range c.Sources {
			program := filepath.Join(bin, path.Base(source))
			if !strings.HasPrefix(path.Base(source), "voicemill-") { // which load libraries
				static(t, program)
			}
			require.NoError(t, run("install", "-m", "0755", program, filepath.Join(root, c.Dest, path.Base(source))))
		}
	}
}

// static fails the test if a program needs a loader.
func static(t *testing.T, program string) {
	t.Helper()
	f, err := elf.Open(program)
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	for _, p := range f.Progs {
		require.NotEqual(t, elf.PT_INTERP, p.Type, "%s is not static", program)
	}
}

func cached(t *testing.T, dir, key string, build func(dir string) error) string {
	t.Helper()
	require.NoError(t, keep(dir, key, build))
	return dir
}

// keep builds dir unless it was built from the same key before.
func keep(dir, key string, build func(dir string) error) error {
	sum := sha256.Sum256([]byte(key))
	want := hex.EncodeToString(sum[:])
	if have, err := os.ReadFile(dir + ".key"); err == nil && string(have) == want {
		return nil
	}
	for _, old := range []string{dir, dir + ".key", dir + ".new"} {
		if err := os.RemoveAll(old); err != nil {
			return err
		}
	}
	if err := build(dir + ".new"); err != nil {
		return err
	}
	if err := os.Rename(dir+".new", dir); err != nil {
		return err
	}
	return os.WriteFile(dir+".key", []byte(want), 0o644) //nolint:gosec // no secret
}

func run(argv ...string) error {
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput() //nolint:gosec,noctx // what the Dockerfiles say; apt bounds its waits
	if err != nil {
		return errors.Join(errors.New(strings.Join(argv, " ")), err, errors.New(string(out)))
	}
	return nil
}
