package cli

import (
	"context"
	"strings"

	"github.com/voicemill/voicemill/voicemill/internal/cli/console"
	"github.com/voicemill/voicemill/voicemill/internal/progress"
)

// KeysCommand holds the commands about API keys. They need a key with the scope admin.
type KeysCommand struct {
	Create KeysCreateCommand `cmd:"" help:"Create a key and print its secret, once."`
	List   KeysListCommand   `cmd:"" help:"List the keys, newest first; secrets are not stored."`
	Revoke KeysRevokeCommand `cmd:"" help:"Make a key useless."`
}

// KeysCreateCommand creates a key.
type KeysCreateCommand struct {
	Name        string   `placeholder:"NAME" help:"A name to know the key by."`
	Scope       []string `default:"jobs:write,jobs:read" placeholder:"SCOPE" help:"What the key may do: jobs:write, jobs:read, admin; may be repeated. Default ${default}."`
	Certificate bool     `help:"Make the certificate of --cert the key; there is no secret then."`
}

// Run prints the secret alone on standard output, so that it can be kept with `> file`.
func (c *KeysCreateCommand) Run(ctx context.Context, con *console.Console, s *Session) error {
	create := s.calls.CreateKey
	if c.Certificate {
		create = s.calls.RegisterCertificate
	}
	k, err := create(ctx, c.Name, c.Scope)
	if err != nil {
		return err
	}
	if con.JSON {
		return con.Document(k)
	}
	if c.Certificate {
		return con.Printf("%s\n", k.ID)
	}
	con.Hintf("Key %s (%s). Its secret is shown only now:", k.ID, strings.Join(k.Scopes, ", "))
	return con.Printf("%s\n", k.Secret)
}

// KeysListCommand lists every key.
type KeysListCommand struct{}

// Run prints the keys.
func (*KeysListCommand) Run(ctx context.Context, con *console.Console, s *Session) error {
	keys, err := s.keys(ctx)
	if err != nil {
		return err
	}
	rows := make([][]string, 0, len(keys))
	for _, k := range keys {
		if con.JSON {
			if err := con.Document(k); err != nil {
				return err
			}
			continue
		}
		state := "active"
		if k.RevokedAt != nil {
			state = "revoked " + moment(*k.RevokedAt)
		}
		kind := "secret"
		if k.Certificate {
			kind = "certificate"
		}
		rows = append(rows, []string{k.ID, progress.Clean(k.Name), kind, strings.Join(k.Scopes, ","), moment(k.CreatedAt), state})
	}
	if con.JSON {
		return nil
	}
	return writeTable(con.Out, []string{"KEY", "NAME", "KIND", "SCOPES", "CREATED", "STATE"}, rows)
}

// KeysRevokeCommand revokes one key.
type KeysRevokeCommand struct {
	ID string `arg:"" help:"The key's id, key_…"`
}

// Run revokes the key; twice is as good as once.
func (c *KeysRevokeCommand) Run(ctx context.Context, con *console.Console, s *Session) error {
	if err := s.calls.RevokeKey(ctx, c.ID); err != nil {
		return err
	}
	if con.JSON {
		return con.Document(map[string]any{"id": c.ID, "revoked": true})
	}
	return con.Printf("%s revoked\n", progress.Clean(c.ID))
}
