//! A client of chromedriver: the few WebDriver calls (W3C, WebDriver Level 2) that the tests need.
//! Why no crate does it: docs/decisions/webdriver.md.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bramblegate_lab::{Error, Result};
use serde_json::{Value, json};

/// The time limit of a call.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one window; dropping this ends it.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
}

/// The properties of a window.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub width: u32,
    pub dark: bool,
    pub script: bool,
}

impl Default for Look {
    fn default() -> Self {
        Self { width: 1280, dark: false, script: true }
    }
}

fn failed<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> Error {
    move |error| Error(format!("{what}: {error}"))
}

impl Browser {
    /// Starts a browser that keeps its files in `folder`.
    pub fn start(folder: &Path, look: Look) -> Result<Self> {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("HOME", folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed("chromedriver (Debian: chromium-driver)"))?;
        let mut lines = BufReader::new(driver.stdout.take().ok_or(Error("no output".into()))?);
        let port = loop {
            let mut line = String::new();
            if lines.read_line(&mut line).map_err(failed("chromedriver"))? == 0 {
                return Err(Error("chromedriver has ended".into()));
            }
            let words = line.trim().trim_end_matches('.');
            if let Some((_, port)) = words.rsplit_once("successfully on port ") {
                break port.parse().map_err(failed("the port of chromedriver"))?;
            }
        };
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        let mut browser = Self { driver, port, session: String::new() };
        let mut arguments = vec![
            "--headless=new".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            format!("--user-data-dir={}", folder.join("profile").display()),
        ];
        if rustix::process::geteuid().is_root() {
            arguments.push("--no-sandbox".to_owned());
        }
        let script = if look.script { 1 } else { 2 };
        let chrome = json!({
            "args": arguments,
            "prefs": { "profile.managed_default_content_settings.javascript": script },
        });
        let wanted = json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": chrome}}});
        let answer = browser.call("POST", "", &wanted)?;
        browser.session = answer["sessionId"].as_str().unwrap_or_default().to_owned();
        browser.look(look)?;
        Ok(browser)
    }

    /// Sets size and colours of the window.
    pub fn look(&self, look: Look) -> Result<()> {
        let phone = look.width < 600;
        let size = json!({
            "width": look.width, "height": if phone { 844 } else { 900 },
            "deviceScaleFactor": if phone { 3 } else { 2 }, "mobile": phone,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", &size)?;
        let scheme = if look.dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": features })).map(drop)
    }

    /// Sends a command of the developer tools (Chrome DevTools Protocol).
    pub fn devtools(&self, command: &str, parameters: &Value) -> Result<Value> {
        self.call("POST", "/goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    /// Opens a tab and switches to it.
    pub fn new_tab(&self) -> Result<()> {
        let tab = self.call("POST", "/window/new", &json!({"type": "tab"}))?;
        self.switch_to(tab["handle"].as_str().unwrap_or_default())
    }

    /// Returns the current tab.
    pub fn window(&self) -> Result<String> {
        let handle = self.call("GET", "/window", &Value::Null)?;
        Ok(handle.as_str().unwrap_or_default().to_owned())
    }

    /// Switches to a tab.
    pub fn switch_to(&self, tab: &str) -> Result<()> {
        self.call("POST", "/window", &json!({ "handle": tab }))?;
        self.devtools("Page.bringToFront", &json!({})).map(drop)
    }

    /// Loads a page.
    pub fn open(&self, url: &str) -> Result<()> {
        self.call("POST", "/url", &json!({ "url": url })).map(drop)
    }

    /// Runs a script on the page; returns its result.
    pub fn run(&self, script: &str, arguments: Value) -> Result<Value> {
        self.call("POST", "/execute/sync", &json!({"script": script, "args": arguments}))
    }

    /// Does the same for a script that passes its result to its last argument.
    pub fn run_later(&self, script: &str, arguments: Value) -> Result<Value> {
        self.call("POST", "/execute/async", &json!({"script": script, "args": arguments}))
    }

    /// Returns the current page source, even where no script may run.
    pub fn source(&self) -> Result<String> {
        let document = self.devtools("DOM.getDocument", &json!({"depth": 1}))?;
        let node = json!({"nodeId": document["root"]["nodeId"]});
        let html = self.devtools("DOM.getOuterHTML", &node)?;
        Ok(html["outerHTML"].as_str().unwrap_or_default().to_owned())
    }

    /// Returns a screenshot of the window, or of the element `selector`, as PNG in base64.
    pub fn picture(&self, selector: Option<&str>) -> Result<String> {
        let path = match selector {
            Some(selector) => format!("/element/{}/screenshot", self.element(selector)?),
            None => "/screenshot".to_owned(),
        };
        let png = self.call("GET", &path, &Value::Null)?;
        Ok(png.as_str().unwrap_or_default().to_owned())
    }

    /// Types into an element.
    pub fn type_into(&self, selector: &str, text: &str) -> Result<()> {
        let path = format!("/element/{}/value", self.element(selector)?);
        self.call("POST", &path, &json!({ "text": text })).map(drop)
    }

    /// Clicks an element.
    pub fn click(&self, selector: &str) -> Result<()> {
        let path = format!("/element/{}/click", self.element(selector)?);
        self.call("POST", &path, &json!({})).map(drop)
    }

    fn element(&self, selector: &str) -> Result<String> {
        let by = json!({"using": "css selector", "value": selector});
        let found = self.call("POST", "/element", &by)?;
        // The key's name is the specification's (section 11).
        let id = found["element-6066-11e4-a52e-4f735466cecf"].as_str();
        id.map(str::to_owned).ok_or_else(|| Error(format!("there is no {selector}")))
    }

    /// Makes one call; a refusal of the browser is an error.
    fn call(&self, verb: &str, path: &str, body: &Value) -> Result<Value> {
        let path = match self.session.as_str() {
            "" => "/session".to_owned(),
            session => format!("/session/{session}{path}"),
        };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let at = format!("127.0.0.1:{}", self.port);
        let mut stream = TcpStream::connect(&at).map_err(failed("chromedriver"))?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed("chromedriver"))?;
        write!(
            stream,
            "{verb} {path} HTTP/1.1\r\nHost: {at}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .map_err(failed("chromedriver"))?;
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).map_err(failed(&path))?;
            if let Some((name, value)) = line.split_once(':') {
                if name.eq_ignore_ascii_case("content-length") {
                    length = value.trim().parse().map_err(failed("content-length"))?;
                }
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut bytes = vec![0; length];
        reader.read_exact(&mut bytes).map_err(failed(&path))?;
        let answer: Value = serde_json::from_slice(&bytes).map_err(failed("chromedriver"))?;
        match answer["value"]["error"].as_str() {
            Some(error) => Err(Error(format!("{path}: {error}: {}", answer["value"]["message"]))),
            None => Ok(answer["value"].clone()),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser, which is the driver's child.
        if !self.session.is_empty() {
            let _ = self.call("DELETE", "", &Value::Null);
        }
        let _ = (self.driver.kill(), self.driver.wait());
    }
}
