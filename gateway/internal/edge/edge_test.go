package edge_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/voicemill/voicemill/gateway/internal/edge"
)

func TestKeepAliveServesOneRequestAfterTheOther(t *testing.T) {
	t.Parallel()
	c := open(t, edge.Config{}, echo).dial()
	for i := range 3 {
		c.send(fmt.Sprintf("POST /%d HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi", i))
		c.want(200, fmt.Sprintf("POST /%d hi", i))
	}
	c.send("GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	if a := c.want(200, "GET /last "); !a.close {
		t.Error("the last answer does not say that the connection closes")
	}
	c.wantEnd()
}

func TestPipelinedAnswersLeaveInOrderWhoeverAnswersFirst(t *testing.T) {
	t.Parallel()
	const n = 24
	held := make(chan *edge.Exchange, n)
	d := open(t, edge.Config{}, func(ex *edge.Exchange) {
		if strings.HasSuffix(string(ex.Request().RawPath()), "now") {
			echo(ex)
			return
		}
		ex.Detach()
		held <- ex
	})
	c := d.dial()
	var all strings.Builder
	for i := range n {
		suffix := "later"
		if i%3 == 1 {
			suffix = "now"
		}
		fmt.Fprintf(&all, "GET /%d%s HTTP/1.1\r\nHost: h\r\n\r\n", i, suffix)
	}
	c.send(all.String())
	var wait []*edge.Exchange
	for len(wait) < n-n/3 {
		wait = append(wait, <-held)
	}
	for _, ex := range slices.Backward(wait) {
		go echo(ex)
	}
	for i := range n {
		suffix := "later"
		if i%3 == 1 {
			suffix = "now"
		}
		c.want(200, fmt.Sprintf("GET /%d%s ", i, suffix))
	}
}
