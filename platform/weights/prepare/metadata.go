package prepare

import (
	"errors"
	"fmt"
	"os"
)

// Numbers of fields in ONNX' messages.
const (
	modelMetadata = 14
	entryKey      = 1
	entryValue    = 2
)

// pair is one entry of a model's metadata.
type pair struct{ key, value string }

// appendMetadata adds pairs to the ONNX model at path.
func appendMetadata(path string, pairs []pair) (err error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // the store's own
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(metadata(pairs)); err != nil {
		return fmt.Errorf("add to %s: %w", path, err)
	}
	return nil
}

func metadata(pairs []pair) []byte {
	var all []byte
	for _, p := range pairs {
		all = appendBytes(all, modelMetadata, appendBytes(appendBytes(nil, entryKey, []byte(p.key)), entryValue, []byte(p.value)))
	}
	return all
}
