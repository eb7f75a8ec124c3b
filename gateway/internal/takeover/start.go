package takeover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
)

// Socket is a listening socket to hand over. It stays open here.
type Socket struct {
	Name     string
	Listener net.Listener // a *net.TCPListener
}

// Program is what takes over.
type Program struct {
	Path   string   // found as a shell would
	Args   []string // with the name first
	Env    []string
	Secret []byte // for its [Inherited.Secret]; at most 1024 bytes, nil for none
}

var (
	errEnded  = errors.New("takeover: the new process ended before it served")
	errSocket = errors.New("takeover: not a socket that can be handed over")
	errSecret = errors.New("takeover: the secret is too long")
)

// Start runs the program with the sockets and returns its process id once it
// serves. If ctx is done before that, or the program ends, it is killed, waited
// for and an error returned.
func Start(ctx context.Context, p Program, sockets ...Socket) (pid int, err error) {
	path, err := exec.LookPath(p.Path)
	if err != nil {
		return 0, fmt.Errorf("takeover: %w", err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		return 0, fmt.Errorf("takeover: %w", err)
	}
	defer func() { _ = read.Close() }()
	secret, err := enclose(p.Secret)
	if err == nil {
		p.Path = path
		pid, err = fork(p, sockets, write, secret)
	}
	_ = write.Close()
	if secret != nil {
		_ = secret.Close()
	}
	if err != nil {
		return 0, err
	}
	told := make(chan error, 1)
	go func() { // ends when the program has written, has ended or was killed
		_, err := io.ReadFull(read, make([]byte, 1))
		told <- err
	}()
	select {
	case err = <-told:
	case <-ctx.Done():
		err = fmt.Errorf("takeover: wait for the new process: %w", context.Cause(ctx))
	}
	if err == nil {
		return pid, nil
	}
	if errors.Is(err, io.EOF) {
		err = errEnded
	}
	_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
	_, _ = syscall.Wait4(pid, nil, 0, nil)
	return 0, err
}

// enclose returns the end of a pipe from which the secret is read, nil for none.
// A pipe holds that much without a reader.
func enclose(secret []byte) (*os.File, error) {
	switch {
	case secret == nil:
		return nil, nil //nolint:nilnil // no file for no secret
	case len(secret) > maxSecretBytes:
		return nil, fmt.Errorf("%w: %d bytes, at most %d", errSecret, len(secret), maxSecretBytes)
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("takeover: %w", err)
	}
	_, err = write.Write(secret)
	if err = errors.Join(err, write.Close()); err != nil {
		_ = read.Close()
		return nil, fmt.Errorf("takeover: hand over the secret: %w", err)
	}
	return read, nil
}

// fork starts the program; secret may be nil. It uses raw descriptors, because asking an os.File
// for its own would make the socket that both processes share a blocking one.
func fork(p Program, sockets []Socket, ready, secret *os.File) (pid int, err error) {
	files, names := []uintptr{0, 1, 2}, []string{}
	var copies []int
	defer func() {
		for _, fd := range copies {
			_ = syscall.Close(fd)
		}
	}()
	add := func(name string, conn syscall.Conn) error {
		raw, err := conn.SyscallConn()
		if err != nil {
			return fmt.Errorf("takeover: %w", err)
		}
		fd, errno := uintptr(0), syscall.Errno(0)
		if err := raw.Control(func(s uintptr) {
			fd, _, errno = syscall.Syscall(syscall.SYS_FCNTL, s, syscall.F_DUPFD_CLOEXEC, 0)
		}); err != nil {
			return fmt.Errorf("takeover: %w", err)
		}
		if errno != 0 {
			return fmt.Errorf("takeover: copy descriptor: %w", errno)
		}
		copies, files, names = append(copies, int(fd)), append(files, fd), append(names, name)
		return nil
	}
	for _, s := range sockets {
		conn, ok := s.Listener.(syscall.Conn)
		if !ok {
			return 0, fmt.Errorf("%w: %s is a %T", errSocket, s.Name, s.Listener)
		}
		if err := add(s.Name, conn); err != nil {
			return 0, err
		}
	}
	if err := add(pipeName, ready); err != nil {
		return 0, err
	}
	if secret != nil {
		if err := add(secretName, secret); err != nil {
			return 0, err
		}
	}
	env := slices.DeleteFunc(slices.Clone(p.Env), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return name == inheritEnv || name == systemdPID || name == systemdFDs || name == systemdName
	})
	env = append(env, inheritEnv+"="+strings.Join(names, ","))
	pid, err = syscall.ForkExec(p.Path, p.Args, &syscall.ProcAttr{Env: env, Files: files})
	if err != nil {
		return 0, fmt.Errorf("takeover: start %s: %w", p.Path, err)
	}
	return pid, nil
}
