// Package torture is what the torture bench is made of besides its processes:
// the faults drawn from a seed, the requests and what their answers must be, the
// ledger that holds both against each other, the proxy that cuts and slows
// connections, and the report. It starts no process; the bench itself is
// integration's TestTorture.
package torture
