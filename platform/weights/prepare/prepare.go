package prepare

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Form is how files are prepared; a model that was in another way is installed again.
const Form = 1

// The files of a prepared voice that the library is told of.
const (
	ModelFile  = "model.onnx"
	TokensFile = "tokens.txt"
	StylesFile = "voices.bin" // of Kokoro
	configFile = "config.json"
)

const (
	maxConfig  = 4 << 20
	maxSymbols = 1 << 16

	// A style of Kokoro's: a row for every count of tokens.
	styleRows, styleWidth = 510, 256
)

// Piper makes the voice of Piper's in dir loadable.
func Piper(dir string) error {
	var config struct {
		Audio struct {
			SampleRate int `json:"sample_rate"`
		} `json:"audio"`
		Espeak struct {
			Voice string `json:"voice"`
		} `json:"espeak"`
		NumSpeakers  int              `json:"num_speakers"`
		PhonemeIDMap map[string][]int `json:"phoneme_id_map"`
	}
	if err := readConfig(dir, &config); err != nil {
		return err
	}
	symbols := make(map[string]int, len(config.PhonemeIDMap))
	for symbol, ids := range config.PhonemeIDMap {
		if len(ids) > 0 {
			symbols[symbol] = ids[0]
		}
	}
	if config.Audio.SampleRate <= 0 {
		return fmt.Errorf("%s names no sample rate", configFile)
	}
	if err := writeTokens(dir, symbols); err != nil {
		return err
	}
	if err := fixNoise(filepath.Join(dir, ModelFile)); err != nil {
		return err
	}
	return appendMetadata(filepath.Join(dir, ModelFile), []pair{
		{"model_type", "vits"},
		{"comment", "piper"},
		{"language", "any"},
		{"voice", config.Espeak.Voice},
		{"has_espeak", "1"},
		{"n_speakers", strconv.Itoa(max(config.NumSpeakers, 1))},
		{"sample_rate", strconv.Itoa(config.Audio.SampleRate)},
	})
}

// Kokoro makes the Kokoro model in dir loadable, whose styles are of speakers.
func Kokoro(dir string, speakers []string) error {
	var config struct {
		Vocab map[string]int `json:"vocab"`
	}
	if err := readConfig(dir, &config); err != nil {
		return err
	}
	info, err := os.Stat(filepath.Join(dir, StylesFile))
	if err != nil {
		return err
	}
	if want := int64(len(speakers)) * styleRows * styleWidth * 4; len(speakers) == 0 || info.Size() != want {
		return fmt.Errorf("%s has %d bytes; want %d for %d speakers", StylesFile, info.Size(), want, len(speakers))
	}
	if err := writeTokens(dir, config.Vocab); err != nil {
		return err
	}
	return appendMetadata(filepath.Join(dir, ModelFile), []pair{
		{"model_type", "kokoro"},
		{"language", "any"},
		{"has_espeak", "1"},
		{"sample_rate", "24000"},
		{"version", "2"},
		{"voice", "en-us"},
		{"style_dim", fmt.Sprintf("%d,1,%d", styleRows, styleWidth)},
		{"n_speakers", strconv.Itoa(len(speakers))},
		{"speaker_names", strings.Join(speakers, ",")},
		{"comment", "kokoro"},
		{"maintainer", "voicemill"},
	})
}

func readConfig(dir string, into any) error {
	f, err := os.Open(filepath.Join(dir, configFile)) //nolint:gosec // the store's own
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxConfig))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("read %s: %w", configFile, err)
	}
	return nil
}

// writeTokens writes a line for each symbol: it, a space, its number.
func writeTokens(dir string, symbols map[string]int) error {
	if len(symbols) == 0 || len(symbols) > maxSymbols {
		return fmt.Errorf("%s names %d symbols; want 1 to %d", configFile, len(symbols), maxSymbols)
	}
	var b strings.Builder
	for _, symbol := range slices.SortedFunc(maps.Keys(symbols), func(x, y string) int { return symbols[x] - symbols[y] }) {
		if symbol == "" || strings.ContainsAny(symbol, "\r\n") {
			return errors.New("a symbol in " + configFile + " is no symbol")
		}
		fmt.Fprintf(&b, "%s %d\n", symbol, symbols[symbol])
	}
	return os.WriteFile(filepath.Join(dir, TokensFile), []byte(b.String()), 0o644) //nolint:gosec // others may read it
}
