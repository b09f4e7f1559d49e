// stories follow
