//! What the board has to measure and to move by itself: the blue button, the temperature of its
//! processor, the green light.
//!
//! The light is on where `lamp` of the desired section says so, or where the commands `on` and
//! `off` put it, or a workflow by `actuate: lamp`. The device reports how it is.

use core::ptr;
use embassy_stm32::Peri;
use embassy_stm32::adc::{Adc, SampleTime, Temperature};
use embassy_stm32::gpio::{Input, Level, Output, Pull, Speed};
use embassy_stm32::peripherals::{ADC3, PB0, PC13};
use holdfast_core::device::command::{Command, Outcome};
use holdfast_core::flow::Code;
use holdfast_core::state::{Path, Value as Kept};
use holdfast_core::{Quality, Value};
use holdfast_firmware::actor::{Actuators, Reports, failed};
use holdfast_firmware::flows::{Asked, To};
use holdfast_firmware::sensors::{Measured, Sensor, Sensors};
use holdfast_firmware::twin::Wanted;

const BUTTON: u8 = 1;
const TEMPERATURE: u8 = 2;

/// The sensors of the board. At this pace the log holds a day and a half, and goes round less than
/// once a day, of ten thousand times that a page is rated for.
pub const TABLE: &[Sensor] = &[
    Sensor { number: BUTTON, metric: "button", unit: "", every_ms: 5_000 },
    Sensor { number: TEMPERATURE, metric: "temperature", unit: "Cel", every_ms: 30_000 },
];

/// What is measured.
pub struct Gauges {
    button: Input<'static>,
    adc: Adc<'static, ADC3>,
    temperature: Temperature,
}

impl Gauges {
    /// Turns them on.
    pub fn new(button: Peri<'static, PC13>, adc: Peri<'static, ADC3>) -> Self {
        let adc = Adc::new(adc);
        let temperature = adc.enable_temperature();
        // The board pulls the pin down, and the button up.
        Self { button: Input::new(button, Pull::None), adc, temperature }
    }

    /// In tenths of a degree.
    fn tenths(&mut self) -> Option<i32> {
        // What the makers measured at 30 and at 110 degrees (STM32H743 data sheet, 6.3.23).
        let at = [0x1ff1_e820, 0x1ff1_e840] as [usize; 2];
        // SAFETY: the processor has these halfwords for ever, and nobody writes them.
        let read = |at| unsafe { ptr::read_volatile(at as *const u16) };
        let [low, high] = at.map(|at| i32::from(read(at)));
        // 32 us at 25 MHz; it asks for 9 or more.
        let raw = self.adc.blocking_read(&mut self.temperature, SampleTime::CYCLES810_5);
        let span = Some(high - low).filter(|span| *span > 0)?;
        Some(300 + (i32::from(raw) - low) * 800 / span)
    }
}

impl Sensors for Gauges {
    fn table(&self) -> &[Sensor] {
        TABLE
    }

    async fn measure(&mut self, number: u8) -> Option<Measured> {
        let value = match number {
            BUTTON => Value::Bool(self.button.is_high()),
            TEMPERATURE => Value::float(f64::from(self.tenths()?) / 10.0).ok()?,
            _ => return None,
        };
        Some(Measured { value, quality: Quality::GOOD })
    }
}

/// What is moved.
pub struct Lamp(Output<'static>);

impl Lamp {
    /// The light, off.
    pub fn new(pin: Peri<'static, PB0>) -> Self {
        Self(Output::new(pin, Level::Low, Speed::Low))
    }

    fn put(&mut self, on: bool, reports: Reports<'_>) {
        self.0.set_level(on.into());
        // It has room, and nothing else is to be said.
        _ = reports.say("lamp", Some(Kept::Bool(on)));
    }
}

impl Actuators for Lamp {
    fn apply(&mut self, desired: &Wanted, reports: Reports<'_>) {
        let wanted = Path::new("lamp").ok().and_then(|path| desired.get(path)?.value());
        // What makes no sense moves nothing; that it is not reported shows it.
        if let Some(Kept::Bool(on)) = wanted {
            self.put(on, reports);
        }
    }

    async fn actuate(&mut self, asked: &Asked, reports: Reports<'_>) -> Result<(), Code> {
        match (asked.name.as_str(), &asked.value) {
            ("lamp", To::Switch(on)) => {
                self.put(*on, reports);
                Ok(())
            }
            ("lamp", _) => Err(Code::INVALID),
            _ => Err(Code::MISSING),
        }
    }

    async fn carry_out(&mut self, command: &Command<'_>, reports: Reports<'_>) -> Outcome<'static> {
        let on = match command.name {
            "on" => true,
            "off" => false,
            _ => return UNKNOWN,
        };
        self.put(on, reports);
        Outcome::Done(Some(Value::Bool(on)))
    }
}

const UNKNOWN: Outcome<'static> = failed("this device knows on and off");
