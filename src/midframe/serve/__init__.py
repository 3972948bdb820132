"""The local page of `midframe serve`: a clip in, a smoother or slower one out."""
