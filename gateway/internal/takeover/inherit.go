package takeover

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	firstFD     = 3
	inheritEnv  = "VOICEMILL_INHERIT" // names of the descriptors from 3 on, separated by commas
	pipeName    = "ready"
	secretName  = "secret" // a pipe whose other end is closed
	systemdPID  = "LISTEN_PID"
	systemdFDs  = "LISTEN_FDS"
	systemdName = "LISTEN_FDNAMES"
	mostFDs     = 16

	maxSecretBytes = 1024        // far below what a pipe holds
	secretWait     = time.Second // all of it is there already
)

// Inherited is what a process was started with. The zero value is nothing.
type Inherited struct {
	listeners map[string]net.Listener
	ready     *os.File
	secret    []byte
}

// Inherit takes the descriptors that the environment tells of: those of a
// gateway that is being replaced, or of systemd, whose names are those of
// FileDescriptorName=, and for a single socket without a name the first of
// names. It is called once, before anything else opens descriptors.
func Inherit(env func(string) (string, bool), names ...string) (*Inherited, error) {
	list, err := inherited(env, names)
	if err != nil {
		return nil, err
	}
	in := &Inherited{listeners: make(map[string]net.Listener)}
	for i, name := range list {
		fd := firstFD + i
		syscall.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), name)
		switch name {
		case pipeName:
			in.ready = f
			continue
		case secretName:
			if in.secret, err = readSecret(f); err != nil {
				in.Close()
				return nil, err
			}
			continue
		}
		l, err := net.FileListener(f) // works on a copy
		_ = f.Close()
		if err != nil {
			in.Close()
			return nil, fmt.Errorf("takeover: descriptor %d (%s) is no listening socket: %w", fd, name, err)
		}
		in.listeners[name] = l
	}
	return in, nil
}

// readSecret reads what the process that is being replaced wrote, and no more
// than that may be.
func readSecret(f *os.File) ([]byte, error) {
	defer func() { _ = f.Close() }()
	_ = f.SetReadDeadline(time.Now().Add(secretWait)) // a file that is not a pipe may have none, and ends
	secret, err := io.ReadAll(io.LimitReader(f, maxSecretBytes+1))
	if err != nil {
		return nil, fmt.Errorf("takeover: read the secret: %w", err)
	}
	if len(secret) > maxSecretBytes {
		return nil, errSecret
	}
	return secret, nil
}

// inherited returns the names of the descriptors from firstFD on.
func inherited(env func(string) (string, bool), names []string) ([]string, error) {
	if list, ok := env(inheritEnv); ok {
		return strings.Split(list, ","), nil
	}
	if pid, _ := env(systemdPID); pid != strconv.Itoa(os.Getpid()) {
		return nil, nil // the variables are for another process
	}
	text, _ := env(systemdFDs)
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > mostFDs {
		return nil, fmt.Errorf("takeover: %s is %q; want 1 to %d", systemdFDs, text, mostFDs)
	}
	given, _ := env(systemdName)
	list := strings.Split(given, ":")
	if len(list) != n {
		list = make([]string, n)
	}
	for i := range list {
		if (list[i] == "" || list[i] == "unknown" || n == 1) && i < len(names) {
			list[i] = names[i]
		}
	}
	return list, nil
}

// Listener returns the socket of that name and forgets it: the caller closes
// it. It is nil if there is none.
func (in *Inherited) Listener(name string) net.Listener {
	l := in.listeners[name]
	delete(in.listeners, name)
	return l
}

// Secret returns what the process that is being replaced handed over beside its
// sockets, nil if it did not. Nobody else could read it.
func (in *Inherited) Secret() []byte { return in.secret }

// Ready tells the process that is being replaced, if there is one, that this
// one serves.
func (in *Inherited) Ready() error {
	if in.ready == nil {
		return nil
	}
	_, err := in.ready.Write([]byte{1})
	err = errors.Join(err, in.ready.Close())
	in.ready = nil
	return err
}

// Close closes what nobody took. Without Ready the process that is to be
// replaced goes on.
func (in *Inherited) Close() {
	for _, l := range in.listeners {
		_ = l.Close()
	}
	if in.ready != nil {
		_ = in.ready.Close()
	}
}
