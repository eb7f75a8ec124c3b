package neural

// WaitForExit returns when the idle helper of an engine with a single one has
// ended and the engine knows.
func (e *Engine) WaitForExit() { e.pool.WaitForExit() }
