package pgd

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// ErrMissing is returned (wrapped) when Postgres is not installed.
var ErrMissing = errors.New("PostgreSQL is not installed; install it with: apt-get install postgresql")

// installedDirs are where distributions put each major version's programs.
var installedDirs = []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin"}

// FindBinaries returns the folder that holds postgres and initdb: dir itself
// if it is not empty, else the newest version among the distribution's folders,
// else the one in PATH. If major is not empty only that major version will do,
// since a data directory can be read by the version that made it alone.
// The error wraps [ErrMissing] if there is none.
func FindBinaries(dir, major string) (string, error) {
	if dir != "" {
		if !hasPrograms(dir) {
			return "", fmt.Errorf("%s does not hold postgres and initdb", dir)
		}
		return dir, nil
	}
	found := installed()
	if p, err := exec.LookPath("postgres"); err == nil {
		if p, err = filepath.EvalSymlinks(p); err == nil && hasPrograms(filepath.Dir(p)) {
			found = append(found, filepath.Dir(p))
		}
	}
	if len(found) == 0 {
		return "", ErrMissing
	}
	if major == "" {
		return found[0], nil
	}
	for _, d := range found {
		if majorOf(d) == major {
			return d, nil
		}
	}
	return "", fmt.Errorf("the data directory was made by PostgreSQL %s, which is not installed: %w-%s", major, ErrMissing, major)
}

// installed lists the distribution's folders, newest version first.
func installed() []string {
	var dirs []string
	for _, pattern := range installedDirs {
		matches, _ := filepath.Glob(pattern) // the patterns are well formed
		dirs = append(dirs, slices.DeleteFunc(matches, func(d string) bool { return !hasPrograms(d) })...)
	}
	slices.SortStableFunc(dirs, func(a, b string) int { return versionIn(b) - versionIn(a) })
	return dirs
}

func hasPrograms(dir string) bool {
	for _, name := range []string{"postgres", "initdb"} {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.IsDir() || st.Mode()&0o111 == 0 {
			return false
		}
	}
	return true
}

// versionIn returns the major version in a path such as /usr/lib/postgresql/17/bin, or 0.
func versionIn(dir string) int {
	for part := range strings.SplitSeq(dir, string(filepath.Separator)) {
		part = part[strings.LastIndexAny(part, "-@")+1:]
		if n, err := strconv.Atoi(part); err == nil {
			return n
		}
	}
	return 0
}

// majorOf asks the path first and the program itself where the path does not say.
func majorOf(dir string) string {
	if n := versionIn(dir); n > 0 {
		return strconv.Itoa(n)
	}
	out, err := exec.Command(filepath.Join(dir, "postgres"), "--version").Output() //nolint:noctx // it prints one line and ends
	if err != nil {
		return ""
	}
	_, version, _ := strings.Cut(string(out), ") ")
	return version[:max(0, strings.IndexAny(version+".", ".\n "))]
}
