package cli

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/voicemill/voicemill/job"
)

// mediaOf returns the media type that an extension stands for, or nothing.
func mediaOf(extension string) string {
	switch strings.ToLower(extension) {
	case ".epub":
		return job.MediaEPUB
	case ".md", ".markdown":
		return job.MediaMarkdown
	case ".html", ".htm":
		return job.MediaHTML
	case ".xhtml":
		return job.MediaXHTML
	case ".txt", ".text":
		return job.MediaText
	}
	return ""
}

// mediaType returns the media type of the document name: what the user says,
// else what the extension says, else plain text for standard input.
func mediaType(name, override string) (string, error) {
	if override != "" {
		if !slices.Contains(job.MediaTypes(), override) {
			return "", usagef("--media-type %s is none of %s", override, strings.Join(job.MediaTypes(), ", "))
		}
		return override, nil
	}
	if name == stdinName {
		return job.MediaText, nil
	}
	if m := mediaOf(filepath.Ext(name)); m != "" {
		return m, nil
	}
	return "", usagef("the extension %q of %s says nothing about its format; name it with --media-type, one of %s",
		filepath.Ext(name), name, strings.Join(job.MediaTypes(), ", "))
}
