package demo

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/voicemill/voicemill/voicemill/internal/progress"
)

// job returns the id of the job that the callback speaks of.
func (c Callback) job() (string, error) {
	var data struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(c.Data, &data); err != nil || data.ID == "" {
		return "", errors.Join(fmt.Errorf("the callback %s names no job", c.ID), err)
	}
	return data.ID, nil
}

// list shows the files in dir with their durations, and where to listen.
func list(out io.Writer, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list the files: %w", err)
	}
	say(out, "\nThe files, in %s:", dir)
	longest, most, total := "", 0.0, 0.0
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		info, err := e.Info()
		if err != nil {
			return fmt.Errorf("list the files: %w", err)
		}
		if !strings.HasSuffix(e.Name(), ".wav") {
			say(out, "  %-18s %9d bytes", e.Name(), info.Size())
			continue
		}
		seconds, err := duration(path)
		if err != nil {
			return err
		}
		total += seconds
		if seconds > most {
			longest, most = path, seconds
		}
		say(out, "  %-18s %9d bytes  %8s", e.Name(), info.Size(), progress.Clock(seconds))
	}
	say(out, "  in all %s of audio\n\nListen:  ffplay %s", progress.Clock(total), longest)
	if book := filepath.Join(dir, "book.epub"); exists(book) {
		say(out, "Read along (Thorium, Apple Books, ...):  %s", book)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

const (
	wavHeader  = 44 // bytes, as voicemill writes it
	byteRateAt = 28 // offset of the bytes per second
)

// duration returns the seconds of a WAV file of voicemill's.
func duration(path string) (float64, error) {
	f, err := os.Open(path) //nolint:gosec // the demo's own folder
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", path, err)
	}
	defer func() { _ = f.Close() }()
	var header [wavHeader]byte
	if _, err := io.ReadFull(f, header[:]); err != nil {
		return 0, fmt.Errorf("read %s: %w", path, err)
	}
	info, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", path, err)
	}
	rate := binary.LittleEndian.Uint32(header[byteRateAt:])
	if rate == 0 {
		return 0, fmt.Errorf("read %s: its header names no byte rate", path)
	}
	return float64(info.Size()-wavHeader) / float64(rate), nil
}
