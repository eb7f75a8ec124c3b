package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/encoding/protowire"
)

// profileLength is how long a CPU profile takes: at 100 samples a second enough
// to tell what is hot.
const profileLength = 5 * time.Second

// profile writes a CPU profile of the gateway under a load.
func (b *bench) profile(ctx context.Context, l *load, s *server, n int) error {
	var group errgroup.Group
	group.Go(func() error {
		_, err := l.run(ctx, b.dir, s, profileLength+time.Second)
		return err
	})
	group.Go(func() error {
		admin := &server{addr: s.admin}
		_, text, err := call(ctx, admin, http.MethodGet, fmt.Sprintf("/debug/pprof/profile?seconds=%d", int(profileLength.Seconds())), "")
		if err != nil {
			return err
		}
		if text, err = withoutFolders(text); err != nil {
			return fmt.Errorf("read the profile of %s: %w", s.name, err)
		}
		return writeFile(filepath.Join(b.prof, fmt.Sprintf("gateway-tls=%t-%d.pprof", s.tls, n)), text)
	})
	return group.Wait()
}

// stringTable is the number of the field of a profile in which names are.
const stringTable protowire.Number = 6

// withoutFolders takes the folders of files of this machine out of a profile in
// the format of pprof, so that it can be kept beside the source: the path of the
// program is in it.
func withoutFolders(profile []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(profile))
	if err != nil {
		return nil, err
	}
	in, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	for len(in) > 0 {
		number, kind, head := protowire.ConsumeTag(in)
		n := protowire.ConsumeFieldValue(number, kind, in[max(0, head):])
		if head < 0 || n < 0 {
			return nil, errors.New("it is not a message")
		}
		field := in[:head+n]
		in = in[head+n:]
		if number == stringTable && kind == protowire.BytesType {
			if name, _ := protowire.ConsumeString(field[head:]); strings.HasPrefix(name, "/") {
				field = protowire.AppendString(protowire.AppendTag(nil, number, kind), path.Base(name))
			}
		}
		if _, err := w.Write(field); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
