package edge

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// stream returns records of random sizes and where each of them ends.
func stream(r *rand.Rand, count int) (data []byte, ends []int) {
	for range count {
		size := r.IntN(40)
		if r.IntN(4) == 0 {
			size = r.IntN(1 << 16)
		}
		data = append(data, 23, 3, 3)
		data = binary.BigEndian.AppendUint16(data, uint16(size))
		data = append(data, make([]byte, size)...)
		ends = append(ends, len(data))
	}
	return data, ends
}

func TestNoPieceReachesIntoTheNextRecord(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		data, ends := stream(r, 40)
		var cut records
		at, arrived := 0, 0
		for at < len(data) {
			if arrived == at {
				arrived += 1 + r.IntN(min(70_000, len(data)-at)) // what one read of a socket may give
				arrived = min(arrived, len(data))
			}
			n := cut.next(data[at:arrived], 1+r.IntN(20_000))
			if n <= 0 || at+n > arrived {
				t.Fatalf("seed %d: next took %d of %d bytes", seed, n, arrived-at)
			}
			if at += n; at > ends[0] {
				t.Fatalf("seed %d: a piece ends at %d, within the record after %d", seed, at, ends[0])
			}
			if at == ends[0] {
				ends = ends[1:]
			}
		}
		if len(ends) > 0 || cut.have != 0 {
			t.Errorf("seed %d: %d records have no end; %d bytes of a head are left", seed, len(ends), cut.have)
		}
	}
}

func TestARecordThatIsWholeIsOnePiece(t *testing.T) {
	t.Parallel()
	data, ends := stream(rand.New(rand.NewPCG(1, 2)), 20)
	var cut records
	for at, i := 0, 0; at < len(data); i++ {
		if at += cut.next(data[at:], len(data)); at != ends[i] {
			t.Fatalf("piece %d ends at %d; want %d", i, at, ends[i])
		}
	}
}
