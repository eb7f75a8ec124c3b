package auth_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway/internal/auth"
)

func TestAMemoSaysWhatBearerSays(t *testing.T) {
	t.Parallel()
	var m, none *auth.Memo
	m = &auth.Memo{}
	fields := []string{"", "B", "Bearer ", "Bearer vm_short", "Basic vm_00000000000000000000000000"}
	for n := range 200 {
		fields = append(fields, fmt.Sprintf("Bearer vm_%026d", n), fmt.Sprintf("bearer  vm_%026d", n), fmt.Sprintf("Bearer vm_%060d", n))
	}
	for range 2 {
		for _, f := range fields {
			for range 2 {
				want, ok := auth.Bearer([]byte(f))
				got, gotOK := m.Bearer([]byte(f))
				require.Equal(t, ok, gotOK, f)
				require.Equal(t, want, got, f)
				_, gotOK = none.Bearer([]byte(f))
				require.Equal(t, ok, gotOK, f)
			}
		}
	}
}

func BenchmarkMemo(b *testing.B) {
	field := []byte("Bearer vm_00000000000000000000000000")
	b.Run("hash", func(b *testing.B) {
		for b.Loop() {
			auth.Bearer(field)
		}
	})
	b.Run("remembered", func(b *testing.B) {
		m := &auth.Memo{}
		for b.Loop() {
			m.Bearer(field)
		}
	})
}
