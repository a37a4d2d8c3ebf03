package model

// plan says how numbers go straight into the inputs.
type plan struct{}

func newPlan(*Codec) plan { return plan{} }

func (c *Codec) decodeFast(*Request, mediaType, []byte) bool { return false }
