package telemetry

import (
	"net"
	"net/http"
	"net/netip"
)

// Exposed reports whether other machines may reach a listener's address.
func Exposed(addr net.Addr) bool { return !loopback(addr.String()) }

func loopback(addr string) bool {
	a, err := netip.ParseAddrPort(addr)
	return err == nil && a.Addr().Unmap().IsLoopback()
}

// local keeps a handler for peers on this machine unless profiles are for everybody.
func (a *Admin) local(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !a.profiles && !loopback(r.RemoteAddr) {
			http.Error(w, "Profiles are for this machine; admin-profiles lets others have them.", http.StatusForbidden)
			return
		}
		next(w, r)
	}
}
