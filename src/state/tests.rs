// stories below
