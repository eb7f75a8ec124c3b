package weights_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/weights"
	"github.com/voicemill/voicemill/platform/weights/registry"
)

// index is a package index and a registry of npm with one package each, over their
// real wire.
type index struct {
	*httptest.Server

	wheel, tarball []byte
	downloads      atomic.Int32
	cutAt          atomic.Int64 // the next answer ends there; 0 is not at all
}

func newIndex(t *testing.T) *index {
	t.Helper()
	x := &index{wheel: zipped(t, map[string]string{"voice/model": "\x08\x08", "voice/config": config}), tarball: tarred(t, map[string]string{
		"package/b": "BB", "package/a": "AAA", "package/../../../etc/passwd": "no",
	})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /simple/a-voice/", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `<html><a href="../../files/a_voice-0.9-py3-none-any.whl#sha256=0">a_voice-0.9-py3-none-any.whl</a>
			<a href="../../files/a_voice-1.0.tar.gz">a_voice-1.0.tar.gz</a>
			<a href="../../files/a_voice-1.0-py3-none-win_amd64.whl">x</a>
			<a href="../../files/a_voice-1.0-py3-none-any.whl#sha256=0">a_voice-1.0-py3-none-any.whl</a></html>`)
	})
	mux.HandleFunc("GET /files/a_voice-1.0-py3-none-any.whl", func(w http.ResponseWriter, r *http.Request) { x.serve(w, r, x.wheel) })
	mux.HandleFunc("GET /npm/styles/2.0.0", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"dist":{"tarball":"%s/files/styles.tgz"}}`, x.URL)
	})
	mux.HandleFunc("GET /files/styles.tgz", func(w http.ResponseWriter, r *http.Request) { x.serve(w, r, x.tarball) })
	x.Server = httptest.NewServer(mux)
	t.Cleanup(x.Close)
	return x
}

func (x *index) serve(w http.ResponseWriter, r *http.Request, b []byte) {
	x.downloads.Add(1)
	w.Header().Set("Etag", fmt.Sprintf(`"%x"`, sha256.Sum256(b)))
	if at := x.cutAt.Swap(0); at > 0 {
		w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		_, _ = w.Write(b[:at])
		w.(http.Flusher).Flush() //nolint:forcetypeassert // of net/http
		panic(http.ErrAbortHandler)
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

const config = `{"audio":{"sample_rate":22050},"espeak":{"voice":"en-us"},"phoneme_id_map":{"_":[0],"a":[1]}}`

func zipped(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range files {
		w, err := z.Create(name)
		require.NoError(t, err)
		_, err = w.Write([]byte(text))
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	return b.Bytes()
}

func tarred(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	g := gzip.NewWriter(&b)
	w := tar.NewWriter(g)
	for name, text := range files {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: name, Size: int64(len(text)), Mode: 0o644, Typeflag: tar.TypeReg}))
		_, err := w.Write([]byte(text))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.NoError(t, g.Close())
	return b.Bytes()
}

func entry(path, content string, parts ...string) weights.File {
	sum := sha256.Sum256([]byte(content))
	return weights.File{Path: path, Bytes: int64(len(content)), SHA256: hex.EncodeToString(sum[:]), Parts: parts}
}

// catalogue has a library made of npm's parts, and a voice of the index's that needs it.
func catalogue() weights.Catalogue {
	return weights.Catalogue{
		{Name: "lib", Kind: weights.KindLibrary, Version: "2", Licence: "L", Attribution: "A", Files: []weights.File{
			entry("all.bin", "AAABBAAA", "npm:styles@2.0.0!package/a", "npm:styles@2.0.0!package/b", "npm:styles@2.0.0!package/a"),
		}},
		{
			Name: "voice", Kind: weights.KindVoice, Family: weights.FamilyPiper, Version: "1", Licence: "L", Attribution: "A", SampleRate: 22050, Needs: []string{"lib"},
			Voices: []weights.Voice{{Name: "ann", Language: "en", Espeak: "en-us"}},
			Files: []weights.File{
				entry("model.onnx", "\x08\x08", "pypi:a.voice==1.0!voice/model"), entry("config.json", config, "pypi:a.voice==1.0!voice/config"),
			},
		},
	}
}

func installer(t *testing.T, x *index) weights.Installer {
	t.Helper()
	return weights.Installer{
		Store: weights.Open(filepath.Join(t.TempDir(), "models")), Catalogue: catalogue(), Client: x.Client(), Log: slog.New(slog.DiscardHandler),
		Registries: registry.Settings{PyPI: x.URL + "/simple", NPM: x.URL + "/npm"},
	}
}

func TestAModelIsInstalledWithWhatItNeeds(t *testing.T) {
	t.Parallel()
	x := newIndex(t)
	i := installer(t, x)
	var told int64
	i.Progress = func(_ string, have, _ int64) { told = have }
	made, err := i.Install(t.Context(), "voice")
	require.NoError(t, err)
	require.Len(t, made, 2)
	require.Equal(t, "lib", made[0].Name)
	require.EqualValues(t, 2, x.downloads.Load(), "an archive is fetched once")
	require.Positive(t, told)
	all, err := os.ReadFile(made[0].Path("all.bin"))
	require.NoError(t, err)
	require.Equal(t, "AAABBAAA", string(all))
	model, err := os.ReadFile(made[1].Path("model.onnx"))
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(model), "\x08\x08\x72"), "metadata is appended")
	tokens, err := os.ReadFile(made[1].Path("tokens.txt"))
	require.NoError(t, err)
	require.Equal(t, "_ 0\na 1\n", string(tokens))
	for _, m := range made {
		require.NoError(t, m.Verify())
	}
	left, err := os.ReadDir(filepath.Join(i.Store.Dir(), ".downloads"))
	require.NoError(t, err)
	require.Empty(t, left)

	again, err := i.Install(t.Context(), "voice")
	require.NoError(t, err)
	require.Empty(t, again)
	require.EqualValues(t, 2, x.downloads.Load(), "nothing is fetched twice")

	voices, err := i.Store.Voices(i.Catalogue)
	require.NoError(t, err)
	require.Len(t, voices, 1)
	require.NoError(t, i.Store.Remove("voice"))
	require.NoError(t, i.Store.Remove("voice"))
	voices, err = i.Store.Voices(i.Catalogue)
	require.NoError(t, err)
	require.Empty(t, voices)
}

func TestADownloadThatWasCutGoesOn(t *testing.T) {
	t.Parallel()
	x := newIndex(t)
	i := installer(t, x)
	x.cutAt.Store(20)
	_, err := i.Install(t.Context(), "lib")
	require.NoError(t, err)
	require.EqualValues(t, 2, x.downloads.Load())
}

func TestWhatIsNotInTheCatalogueIsNotInstalled(t *testing.T) {
	t.Parallel()
	x := newIndex(t)
	x.wheel = zipped(t, map[string]string{"voice/model": "\x08\x09", "voice/config": config})
	i := installer(t, x)
	_, err := i.Install(t.Context(), "voice")
	require.ErrorContains(t, err, "model.onnx that came is not the one that the catalogue describes")
	require.Equal(t, job.Conflict, job.KindOf(err))
	_, err = i.Store.Get("voice")
	require.Equal(t, job.NotFound, job.KindOf(err))
	require.NoDirExists(t, filepath.Join(i.Store.Dir(), ".staging-voice"))

	x.wheel = zipped(t, map[string]string{"voice/model": "\x08\x08", "voice/config": config})
	_, err = i.Install(t.Context(), "voice")
	require.NoError(t, err, "what was wrong is not kept")
}

func TestAFileThatIsLongerThanItMayBeIsRefused(t *testing.T) {
	t.Parallel()
	x := newIndex(t)
	x.wheel = zipped(t, map[string]string{"voice/model": strings.Repeat("0", 1<<20), "voice/config": config})
	i := installer(t, x)
	_, err := i.Install(t.Context(), "voice")
	require.ErrorContains(t, err, "longer than the catalogue says")
}

func TestADamagedModelIsNamedWithItsCureAndMended(t *testing.T) {
	t.Parallel()
	x := newIndex(t)
	for name, damage := range map[string]func(path string) error{
		"cut":     func(path string) error { return os.Truncate(path, 2) },
		"changed": func(path string) error { return os.WriteFile(path, []byte("AAABBAAB"), 0o600) },
		"missing": os.Remove,
	} {
		i := installer(t, x)
		made, err := i.Install(t.Context(), "lib")
		require.NoError(t, err)
		require.NoError(t, damage(made[0].Path("all.bin")))
		err = made[0].Verify()
		require.ErrorContains(t, err, "mend it with: voicemill models install lib", name)
		require.ErrorContains(t, err, made[0].Path("all.bin"), name)
		_, err = i.Install(t.Context(), "lib")
		require.NoError(t, err)
		require.NoError(t, made[0].Verify())
	}
}

func TestWhatIsNotThereIsNamedWithTheCommand(t *testing.T) {
	t.Parallel()
	s := weights.Open(t.TempDir())
	_, err := s.Get("joe")
	require.ErrorContains(t, err, "voicemill models install joe")
	_, err = s.Get("../../etc")
	require.Equal(t, job.NotFound, job.KindOf(err))
	require.Error(t, s.Remove("../../etc"))
	_, err = catalogue().Closure("nobody")
	require.ErrorContains(t, err, "voicemill models list")
}

func TestARegistryThatIsAwayIsUnavailable(t *testing.T) {
	t.Parallel()
	x := newIndex(t)
	i := installer(t, x)
	x.Close()
	_, err := i.Install(t.Context(), "lib")
	require.Equal(t, job.Unavailable, job.KindOf(err))
}

func TestTheCatalogueOfThisBuild(t *testing.T) {
	t.Parallel()
	c, err := weights.OpenCatalogue("")
	require.NoError(t, err)
	for name, voices := range map[string]int{"sherpa-onnx": 0, "joe": 1, "kokoro": 41} {
		m, ok := c.Find(name)
		require.True(t, ok, name)
		require.Len(t, m.Voices, voices)
	}
	k, _ := c.Find("kokoro")
	require.Len(t, k.Speakers, 54)
	for _, v := range k.Voices {
		require.Equal(t, v.Name, k.Speakers[v.Speaker])
	}
}

func TestAnOperatorsCatalogueComesFirst(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "own.bin"), []byte("own"), 0o600))
	joe := weights.Model{
		Name: "joe", Kind: weights.KindLibrary, Version: "mine", Licence: "L", Attribution: "me", Files: []weights.File{entry("x", "own", "file:"+filepath.Join(dir, "own.bin"))},
	}
	b, err := json.Marshal(map[string]any{"models": []weights.Model{joe}})
	require.NoError(t, err)
	path := filepath.Join(dir, "catalogue.json")
	require.NoError(t, os.WriteFile(path, b, 0o600))
	c, err := weights.OpenCatalogue(path)
	require.NoError(t, err)
	require.Equal(t, "mine", c[0].Version)
	_, ok := c.Find("kokoro")
	require.True(t, ok)
	i := weights.Installer{Store: weights.Open(filepath.Join(dir, "models")), Catalogue: c, Log: slog.New(slog.DiscardHandler)}
	_, err = i.Install(t.Context(), "joe")
	require.NoError(t, err, "a local file needs no network")
}

func TestACatalogueThatMakesNoSenseIsRefused(t *testing.T) {
	t.Parallel()
	for fault, change := range map[string]func(m *weights.Model){
		"want a name":             func(m *weights.Model) { m.Name = "../x" },
		"kind is":                 func(m *weights.Model) { m.Kind = "x" },
		"licence and attribution": func(m *weights.Model) { m.Licence = "" },
		"has no files":            func(m *weights.Model) { m.Files = nil },
		"without a folder":        func(m *weights.Model) { m.Files[0].Path = "../../x" },
		"the store's own":         func(m *weights.Model) { m.Files[0].Path = "model.json" },
		"bytes is 0":              func(m *weights.Model) { m.Files[0].Bytes = 0 },
		"hexadecimal":             func(m *weights.Model) { m.Files[0].SHA256 = "x" },
		"0 parts":                 func(m *weights.Model) { m.Files[0].Parts = nil },
		"no path inside":          func(m *weights.Model) { m.Files[0].Parts = []string{"pypi:a==1!../x"} },
		"sample_rate":             func(m *weights.Model) { m.SampleRate = 0 },
		"has no voices":           func(m *weights.Model) { m.Voices = nil },
	} {
		m := catalogue()[1]
		m.Files = append([]weights.File(nil), m.Files...)
		change(&m)
		b, err := json.Marshal(map[string]any{"models": []weights.Model{m}})
		require.NoError(t, err)
		_, err = weights.ReadCatalogue(bytes.NewReader(b))
		require.ErrorContains(t, err, fault)
	}
}
