package config_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/config"
)

type pool struct {
	Min int `default:"1"`
	Max int `default:"2"`
}

func (p pool) Rules() []config.Rule {
	return []config.Rule{{Says: "`max` must be at least `min`", Kept: p.Max >= p.Min}}
}

type ruledSettings struct {
	DSN   config.Secret `default:"x"`
	Name  string        `default:"a"`
	Grace time.Duration `default:"1s"`
	Pool  pool          `embed:"" prefix:"pool-"`

	broken error
}

func (s *ruledSettings) Rules() []config.Rule {
	return []config.Rule{
		{Says: "`dsn` and `name` must be given", Kept: !s.DSN.IsZero() && s.Name != ""},
		{Says: "`grace` must exceed `pool-min` seconds", Kept: s.Grace > time.Duration(s.Pool.Min)},
		config.ByFault("`name` must be known", s.broken),
	}
}

func TestABrokenRuleIsToldWithItsValues(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*ruledSettings){
		"": func(*ruledSettings) {},
		"test: pool-max (0) must be at least pool-min (1)":        func(s *ruledSettings) { s.Pool.Max = 0 },
		"test: dsn (REDACTED) and name (not given) must be given": func(s *ruledSettings) { s.Name = "" },
		"test: grace (0s) must exceed pool-min (1) seconds":       func(s *ruledSettings) { s.Grace = 0 },
		"test: name (a) must be known: it is not":                 func(s *ruledSettings) { s.broken = errors.New("it is not") },
	} {
		var s ruledSettings
		_, err := config.Parse(&s, config.Source{Name: "test"})
		require.NoError(t, err)
		change(&s)
		if err = config.Check("test", &s); want == "" {
			require.NoError(t, err)
			continue
		}
		require.EqualError(t, err, want)
	}
	require.EqualError(t, config.Check("pool", pool{Min: 3}), "pool: max (0) must be at least min (3)")
	_, err := config.Parse(&ruledSettings{}, config.Source{Name: "test", Args: []string{"--pool-min=3"}})
	require.ErrorContains(t, err, "pool-min (3)")
}

func TestRelationsAreWhatTheRulesSay(t *testing.T) {
	t.Parallel()
	says, err := config.Relations(&ruledSettings{})
	require.NoError(t, err)
	require.Equal(t, []string{
		"`pool-max` must be at least `pool-min`", "`dsn` and `name` must be given", "`grace` must exceed `pool-min` seconds", "`name` must be known",
	}, says)
	_, err = config.Relations(&struct {
		W wrong `embed:""`
	}{})
	require.ErrorContains(t, err, "`other`")
}

type wrong struct{ One int }

func (wrong) Rules() []config.Rule { return []config.Rule{{Says: "`other` must be", Kept: true}} }
