package pgd

import (
	"errors"
	"fmt"
	"os/user"
	"strconv"
	"time"
)

const (
	superuser    = "voicemill" // role and database of the private server
	socketName   = ".s.PGSQL.5432"
	maxSocketLen = 107 // sun_path holds 108 bytes with the final zero
	// The kernel's overflow user, which "nobody" is everywhere.
	nobodyID = 65534

	startTimeout   = 60 * time.Second // crash recovery included
	staleTimeout   = 10 * time.Second // for a former server to be gone
	fastStop       = 10 * time.Second // after SIGINT
	immediateStop  = 5 * time.Second  // after SIGQUIT
	crashLimit     = 5                // restarts a crashWindow before giving up
	crashWindow    = time.Minute
	crashPause     = 100 * time.Millisecond // after a crash during recovery
	defaultConns   = 60
	defaultBuffers = 128
)

// Config says where the server keeps its data and how it runs. The zero value
// of every field but DataDir means its default.
type Config struct {
	DataDir         string // made if missing; owned by the server from then on
	BinDir          string // default: see [FindBinaries]
	User            string // whom the server runs as when this process is root; default nobody
	MaxConnections  int    // default 60
	SharedBuffersMB int    // default 128
	NoSync          bool   // tests only: no fsync, a power cut loses the database
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error {
	if c.DataDir == "" {
		return errors.New("pgd: no data directory given")
	}
	if c.MaxConnections < 0 || c.SharedBuffersMB < 0 {
		return fmt.Errorf("pgd: max_connections %d and shared_buffers %d MB must be positive", c.MaxConnections, c.SharedBuffersMB)
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.MaxConnections == 0 {
		c.MaxConnections = defaultConns
	}
	if c.SharedBuffersMB == 0 {
		c.SharedBuffersMB = defaultBuffers
	}
	return c
}

// owner is the user that the server runs as. switches is true if that is not us.
type owner struct {
	uid, gid int
	switches bool
}

func (c Config) owner(euid, egid int) (owner, error) {
	if euid != 0 {
		return owner{uid: euid, gid: egid}, nil
	}
	if c.User == "" {
		return owner{uid: nobodyID, gid: nobodyID, switches: true}, nil
	}
	u, err := user.Lookup(c.User)
	if err != nil {
		if u, err = user.LookupId(c.User); err != nil {
			return owner{}, fmt.Errorf("pgd: there is no user %q to run Postgres as: %w", c.User, err)
		}
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return owner{}, fmt.Errorf("pgd: user %q: %w", c.User, err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return owner{}, fmt.Errorf("pgd: user %q: %w", c.User, err)
	}
	if uid == 0 {
		return owner{}, fmt.Errorf("pgd: Postgres cannot run as %q, who is root", c.User)
	}
	return owner{uid: uid, gid: gid, switches: true}, nil
}
