package registry

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Source{
		"pypi:joe-us==1.0.0!a/b.onnx":    {PyPI, "joe-us", "1.0.0", "a/b.onnx"},
		"npm:@x/kokoro-js@1.2.1!p/v.bin": {NPM, "@x/kokoro-js", "1.2.1", "p/v.bin"},
		"file:/srv/model.onnx":           {File, "/srv/model.onnx", "", ""},
		"https://h/x.zip!a":              {Address, "https://h/x.zip", "", "a"},
	} {
		got, err := Parse(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got)
	}
	for _, text := range []string{
		"", "joe", "pypi:joe", "pypi:joe==1", "pypi:../x==1!a", "pypi:a==1!", "pypi:a==1!/etc/passwd", "pypi:a==1!a/../../b", "npm:x!a", "npm:../..@1!a", "https://", "ftp://h/x", "file:",
	} {
		_, err := Parse(text)
		require.Error(t, err, text)
	}
}

func TestSettingsAreThoseOfPipAndNpm(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	env := func(vars map[string]string) func(string) string {
		return func(name string) string {
			if name == "HOME" {
				return home
			}
			return vars[name]
		}
	}
	got := Find(env(map[string]string{"PIP_CONFIG_FILE": os.DevNull}))
	require.Equal(t, publicPyPI, got.PyPI)
	require.Equal(t, publicNPM, got.NPM)
	require.NoError(t, os.MkdirAll(filepath.Join(home, ".config/pip"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(home, ".config/pip/pip.conf"), []byte("[install]\nno-index = x\n[global]\n# index-url = no\nindex_url = https://mirror/simple/\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(home, ".npmrc"), []byte("registry=https://npm.mirror/\n//npm.mirror/:_authToken=${TOKEN}\n"), 0o600))
	got = Find(env(map[string]string{"TOKEN": "secret"}))
	require.Equal(t, Settings{PyPI: "https://mirror/simple", NPM: "https://npm.mirror", NPMToken: "secret"}, got)
	got = Find(env(map[string]string{"PIP_INDEX_URL": "https://u:p@own/simple", "npm_config_registry": "https://own/npm"}))
	require.Equal(t, Settings{PyPI: "https://u:p@own/simple", NPM: "https://own/npm"}, got)
}

func TestPickTakesTheWheelOfThisMachine(t *testing.T) {
	t.Parallel()
	for platform, want := range map[string]bool{
		"any": true, "manylinux2014_x86_64": true, "manylinux_2_35_armv7l": false, "win_amd64": false, "manylinux2014_aarch64": false, "android_24_x86_64": false, "macosx_11_0_arm64": false,
	} {
		require.Equal(t, want, suits("a-1-py3-none-"+platform, "linux", "amd64"), platform)
	}
	page := []byte(`{"files":[{"filename":"A_b.c-1.0-py3-none-any.whl","url":"u1"},{"filename":"a_b_c-1.0.1-py3-none-any.whl","url":"u2"}]}`)
	link, ok := pick(files(page), "a-b_c", "1.0")
	require.True(t, ok)
	require.Equal(t, "u1", link)
	_, ok = pick(files(page), "a-b_c", "1")
	require.False(t, ok)
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte(`<a href="x/a-1-py3-none-any.whl">a</a>`))
	f.Add([]byte(`{"files":[{"filename":"a-1-py3-none-any.whl","url":"u"}]}`))
	f.Fuzz(func(_ *testing.T, page []byte) {
		pick(files(page), "a", "1")
		setting(strings.NewReader(string(page)), "index-url", "global")
	})
}

func FuzzParse(f *testing.F) {
	f.Add("pypi:a==1!b")
	f.Add("npm:@a/b@1!c")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err == nil && (strings.HasPrefix(s.Member, "/") || strings.Contains("/"+s.Member+"/", "/../")) {
			t.Errorf("Parse(%q) names %q", text, s.Member)
		}
	})
}
