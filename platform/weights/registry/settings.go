package registry

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// The public registries.
const (
	publicPyPI = "https://pypi.org/simple"
	publicNPM  = "https://registry.npmjs.org"
)

// Settings are the addresses of the registries. A user and a password may be in them.
type Settings struct {
	PyPI     string // of the simple index
	NPM      string
	NPMToken string // sent to NPM's host only
	CAFile   string // PEM file of authorities to trust besides the system's; may be empty
}

// Find returns what pip and npm would use on this machine. getenv is os.Getenv.
func Find(getenv func(string) string) Settings {
	s := Settings{PyPI: getenv("PIP_INDEX_URL"), NPM: first(getenv("npm_config_registry"), getenv("NPM_CONFIG_REGISTRY"))}
	s.CAFile = first(getenv("PIP_CERT"), getenv("NODE_EXTRA_CA_CERTS"))
	for _, path := range pipFiles(getenv) {
		if s.PyPI != "" {
			break
		}
		s.PyPI = readSetting(path, "index-url", "global", "install")
	}
	for _, path := range npmFiles(getenv) {
		s.NPM = first(s.NPM, readSetting(path, "registry", ""))
	}
	s.PyPI = strings.TrimRight(first(s.PyPI, publicPyPI), "/")
	s.NPM = strings.TrimRight(first(s.NPM, publicNPM), "/")
	for _, path := range npmFiles(getenv) {
		_, host, _ := strings.Cut(s.NPM, ":")
		s.NPMToken = first(s.NPMToken, readSetting(path, host+"/:_authToken", ""))
	}
	if strings.HasPrefix(s.NPMToken, "${") && strings.HasSuffix(s.NPMToken, "}") {
		s.NPMToken = getenv(s.NPMToken[2 : len(s.NPMToken)-1])
	}
	return s
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

func pipFiles(getenv func(string) string) []string {
	var files []string
	if named := getenv("PIP_CONFIG_FILE"); named != "" {
		if named == os.DevNull {
			return nil
		}
		files = append(files, named)
	}
	if venv := getenv("VIRTUAL_ENV"); venv != "" {
		files = append(files, filepath.Join(venv, "pip.conf"))
	}
	home := getenv("HOME")
	config := first(getenv("XDG_CONFIG_HOME"), filepath.Join(home, ".config"))
	if runtime.GOOS == "darwin" {
		files = append(files, filepath.Join(home, "Library/Application Support/pip/pip.conf"))
	}
	return append(files, filepath.Join(config, "pip/pip.conf"), filepath.Join(home, ".pip/pip.conf"), "/etc/pip.conf", "/etc/xdg/pip/pip.conf")
}

func npmFiles(getenv func(string) string) []string {
	return []string{first(getenv("npm_config_userconfig"), filepath.Join(getenv("HOME"), ".npmrc")), "/etc/npmrc", "/usr/etc/npmrc"}
}

// maxSettings is far above what such a file has.
const maxSettings = 1 << 20

func readSetting(path, key string, sections ...string) string {
	f, err := os.Open(path) //nolint:gosec // where pip and npm look
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	return setting(io.LimitReader(f, maxSettings), key, sections...)
}

// setting returns the value of key in one of the sections of an INI file; the
// section before the first header is called "".
func setting(r io.Reader, key string, sections ...string) string {
	section := ""
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			section = strings.ToLower(strings.TrimSpace(line[1 : len(line)-1]))
			continue
		}
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		at := strings.IndexByte(line, '=')
		if at < 0 || strings.ReplaceAll(strings.TrimSpace(line[:at]), "_", "-") != strings.ReplaceAll(key, "_", "-") {
			continue
		}
		if slices.Contains(sections, section) {
			return strings.Trim(strings.TrimSpace(line[at+1:]), `"'`)
		}
	}
	return ""
}
