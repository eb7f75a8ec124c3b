package fair

import "container/heap"

// ordered is a heap whose items know their place, so that any of them can be
// moved or taken out. The place of an item that is not in it is -1.
type ordered[T any] struct {
	items []T
	less  func(a, b T) bool
	place func(T) *int
}

func (o *ordered[T]) Len() int           { return len(o.items) }
func (o *ordered[T]) Less(i, j int) bool { return o.less(o.items[i], o.items[j]) }

func (o *ordered[T]) Swap(i, j int) {
	o.items[i], o.items[j] = o.items[j], o.items[i]
	*o.place(o.items[i]), *o.place(o.items[j]) = i, j
}

// Push is for container/heap.
func (o *ordered[T]) Push(x any) {
	item := x.(T)
	*o.place(item) = len(o.items)
	o.items = append(o.items, item)
}

// Pop is for container/heap.
func (o *ordered[T]) Pop() any {
	last := len(o.items) - 1
	item := o.items[last]
	var none T
	o.items[last] = none
	o.items = o.items[:last]
	*o.place(item) = -1
	return item
}

// put adds an item or moves it to where it belongs now.
func (o *ordered[T]) put(item T) {
	if at := *o.place(item); at >= 0 {
		heap.Fix(o, at)
		return
	}
	heap.Push(o, item)
}

// drop takes an item out if it is in.
func (o *ordered[T]) drop(item T) {
	if at := *o.place(item); at >= 0 {
		heap.Remove(o, at)
	}
}

// first returns the least item, the zero value if there is none.
func (o *ordered[T]) first() (item T) {
	if len(o.items) > 0 {
		item = o.items[0]
	}
	return item
}
