package doctor_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/voicemill/internal/doctor"
)

func find(t *testing.T, findings []doctor.Finding, name string) doctor.Finding {
	t.Helper()
	for _, f := range findings {
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("no finding is called %q", name)
	return doctor.Finding{}
}

func TestDoctorFindsWhatTheSetupInstalled(t *testing.T) {
	t.Parallel()
	findings := doctor.Check(t.Context(), t.TempDir(), t.TempDir(), "")
	for _, name := range []string{"PostgreSQL", "espeak-ng", "ffmpeg", "data folder"} {
		if f := find(t, findings, name); !f.OK {
			t.Errorf("%s: %s", name, f.Detail)
		}
	}
}

func TestDoctorNamesTheCommandForWhatIsMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir()) // nothing is in PATH
	findings := doctor.Check(t.Context(), t.TempDir(), t.TempDir(), "")
	f := find(t, findings, "espeak-ng")
	require.False(t, f.OK)
	require.False(t, doctor.Healthy(findings))

	var out bytes.Buffer
	require.NoError(t, doctor.Print(&out, findings))
	require.Contains(t, out.String(), "apt-get install espeak-ng")
}

func TestDoctorRefusesADataFolderThatIsAFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	f := find(t, doctor.Check(t.Context(), filepath.Join(file, "data"), t.TempDir(), ""), "data folder")
	require.False(t, f.OK)
}

func TestDoctorSaysWhatHearsOrWhatIsMissing(t *testing.T) {
	t.Parallel()
	f := find(t, doctor.Check(t.Context(), t.TempDir(), t.TempDir(), ""), "ear")
	require.False(t, f.OK)
	require.False(t, f.Required)
	require.Equal(t, "The ear's model whisper-base is not installed, so nothing is heard back", f.Detail)
	require.Equal(t, "voicemill models install whisper-base", f.Fix)
}
