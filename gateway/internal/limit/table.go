package limit

// subject is what a key or a tenant has used.
type subject struct {
	name              string
	requests, letters int64 // when the whole burst is there again
	held, connections int
	newer, older      *subject // circular, through the table's head
}

func (s *subject) holding() *int { return &s.held }

func (s *subject) connected() *int { return &s.connections }

// table keeps a bounded number of subjects. Its owner's mutex guards it.
type table struct {
	most  int
	byKey map[string]*subject
	head  subject // newer is the most recently used, older the least
}

func newTable(most int) *table {
	t := &table{most: most, byKey: make(map[string]*subject)}
	t.head.newer, t.head.older = &t.head, &t.head
	return t
}

// find returns the subject and makes it the most recently used.
func (t *table) find(name string) *subject {
	s := t.byKey[name]
	if s == nil {
		t.evict()
		s = &subject{name: name}
		t.byKey[name] = s
	} else {
		if t.head.older == s {
			return s
		}
		s.newer.older, s.older.newer = s.older, s.newer
	}
	s.older, s.newer = t.head.older, &t.head
	t.head.older.newer = s
	t.head.older = s
	return s
}

// evict makes room. A subject that holds something is passed over: it is
// counted down later. What may be held at all is bounded elsewhere.
func (t *table) evict() {
	for s := t.head.newer; len(t.byKey) >= t.most && s != &t.head; {
		next := s.newer
		if s.held == 0 && s.connections == 0 {
			delete(t.byKey, s.name)
			s.newer.older, s.older.newer = s.older, s.newer
		}
		s = next
	}
}
