package cli

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/voicemill/voicemill/job"
)

var mediaByExtension = map[string]string{
	".epub": job.MediaEPUB,
	".md":   job.MediaMarkdown, ".markdown": job.MediaMarkdown,
	".html": job.MediaHTML, ".htm": job.MediaHTML,
	".xhtml": job.MediaXHTML,
	".txt":   job.MediaText, ".text": job.MediaText,
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
	extension := strings.ToLower(filepath.Ext(name))
	if m, ok := mediaByExtension[extension]; ok {
		return m, nil
	}
	return "", usagef("the extension %q of %s says nothing about its format; name it with --media-type, one of %s",
		extension, name, strings.Join(job.MediaTypes(), ", "))
}
