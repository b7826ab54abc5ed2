package awsfake

// A Region is a region of an account.
type Region struct {
	Name string
	// Off says that the account has not opted in to the region.
	Off bool

	functions map[string]*Function // of Lambda, by name

	account *Account
	cloud   *Cloud
}

// Region returns a region of the account, and makes it if need be.
func (a *Account) Region(name string) *Region {
	a.cloud.mu.Lock()
	defer a.cloud.mu.Unlock()
	return a.region(name)
}

func (a *Account) region(name string) *Region {
	r := a.regions[name]
	if r == nil {
		r = &Region{Name: name, account: a, cloud: a.cloud}
		a.regions[name] = r
	}
	return r
}

// pass lets one step of time go by.
func (r *Region) pass() {}
