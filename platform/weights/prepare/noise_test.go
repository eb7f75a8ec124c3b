package prepare

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// model returns a model of one node.
func model(nodes ...[]byte) []byte {
	var graph []byte
	for _, n := range nodes {
		graph = append(graph, n...)
	}
	return append([]byte("\x08\x08"), appendBytes(nil, modelGraph, graph)...)
}

func fixed(t *testing.T, b []byte) (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.onnx")
	require.NoError(t, os.WriteFile(path, b, 0o600))
	err := fixNoise(path)
	out, readErr := os.ReadFile(path)
	require.NoError(t, readErr)
	return string(out), err
}

func TestDiceBecomeATable(t *testing.T) {
	t.Parallel()
	plain := model(node("Add", []string{"a", "b"}, "c"))
	out, err := fixed(t, plain)
	require.NoError(t, err)
	require.Equal(t, string(plain), out, "there is nothing to fix")

	out, err = fixed(t, model(node("RandomNormalLike", []string{"a"}, "b"), node("RandomNormalLike", []string{"b"}, "c")))
	require.NoError(t, err)
	require.NotContains(t, out, "RandomNormalLike")
	require.Equal(t, 2, strings.Count(out, "Reshape"))
	require.Equal(t, 1, strings.Count(out, "Floor"), "one place for both")
	ops := 0
	require.NoError(t, eachField([]byte(out), func(f protoField) error {
		if f.number != modelGraph {
			return nil
		}
		return eachField(f.body, func(g protoField) error {
			if g.number == graphNode {
				ops++
			}
			return nil
		})
	}))
	require.Equal(t, 8+2*7, ops)

	_, err = fixed(t, model(node("RandomNormalLike", []string{"a"}, "b", attr{"scale", 2})))
	require.ErrorContains(t, err, "not known")
	_, err = fixed(t, []byte("hello, I am no model"))
	require.ErrorIs(t, err, errModel)
}

func FuzzModel(f *testing.F) {
	f.Add(model(node("RandomNormalLike", []string{"a"}, "b")))
	f.Add([]byte("\x3a\x05hello"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_ = eachField(b, func(f protoField) error {
			if f.number == modelGraph {
				_, err := fixGraph(f.body)
				return err
			}
			return nil
		})
	})
}
